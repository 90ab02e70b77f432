// One request to a program of ours, with its whole answer, of which no more is read than it may have.

import { type RequestOptions, request } from 'node:http'

export type Answer = { status: number; contentType: string; body: Buffer }

export type Question = Omit<RequestOptions, 'headers' | 'signal'> & {
  headers?: Record<string, string>
  body?: Uint8Array
  signal: AbortSignal
  maxAnswerBytes: number
}

/** Rejects with the signal's reason when that aborts. */
export function ask({ body, headers, maxAnswerBytes, ...options }: Question): Promise<Answer> {
  const { signal } = options
  const length = body && { 'content-length': String(body.byteLength) }
  return new Promise((resolve, reject) => {
    const asked = request({ ...options, headers: { ...headers, ...length } }, (answer) => {
      const chunks: Uint8Array[] = []
      let size = 0
      answer.on('data', (chunk: Uint8Array) => {
        size += chunk.byteLength
        if (size > maxAnswerBytes)
          asked.destroy(new Error(`The answer has more than ${maxAnswerBytes} bytes`))
        else chunks.push(chunk)
      })
      answer.on('error', reject)
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 502,
          contentType: answer.headers['content-type'] ?? 'application/octet-stream',
          body: Buffer.concat(chunks),
        }),
      )
    })
    asked.on('error', (error) => reject(signal.aborted ? signal.reason : error))
    asked.end(body)
  })
}
