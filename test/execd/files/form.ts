// Uploads as clients send them, for tests.

import type { Daemon } from '../daemon.ts'

/** A file name of `undefined` is that of a form field, which has none. */
export type Part = [name: string, filename: string | undefined, content: string | Buffer]

export function pair(metadata: object, content: string | Buffer): Part[] {
  return [
    ['metadata', 'metadata', JSON.stringify(metadata)],
    ['file', 'ignored', content],
  ]
}

export function formBody(parts: Part[], boundary: string): Buffer {
  const chunks: Buffer[] = []
  for (const [name, filename, content] of parts) {
    const file = filename === undefined ? '' : `; filename="${filename}"`
    chunks.push(Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n\r\n`))
    chunks.push(Buffer.from(content), Buffer.from('\r\n'))
  }
  chunks.push(Buffer.from(`--${boundary}--\r\n`))
  return Buffer.concat(chunks)
}

export function upload(
  execd: Daemon,
  parts: Part[],
  { boundary = 'opensandbox_test', prefix = '' } = {},
): Promise<Response> {
  return execd.call(`${prefix}/files/upload`, {
    method: 'POST',
    headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}` },
    body: new Uint8Array(formBody(parts, boundary)),
  })
}
