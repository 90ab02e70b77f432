// Uploads: pairs of a `metadata` and a `file` part, each file streamed to its place as it arrives (contract: execd.md 6.2).
// The target is named by the metadata alone, so the metadata of a file must come before it, as all clients send it.

import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import busboy from 'busboy'
import { ApiError, messageOf } from '../../lib/errors.ts'
import { execdError } from '../http/answer.ts'
import { asObject, checkText, field } from '../http/body.ts'
import type { Users } from '../users.ts'
import { type Owner, writeFromStream } from './change.ts'
import { type PathContext, refuseVital, resolvePath } from './path.ts'
import { type Permission, parsePermission } from './permission.ts'

const MAX_METADATA_BYTES = 64 << 10
const MAX_PARTS = 20_000
/** How long an upload may bring nothing before it is given up. */
const IDLE_MS = 120_000

export type UploadOptions = { paths: PathContext; users: Users; owner: Owner; vital: string[] }

type Metadata = { path: string; permission: Permission }

/** Stores all files of an upload, in order. The first that fails ends it; those before it stay. */
export async function receiveUpload(request: IncomingMessage, options: UploadOptions): Promise<void> {
  const parser = openParser(request)
  const metadata: Promise<Metadata>[] = []
  let files = 0
  let work: Promise<void> = Promise.resolve()
  const { promise: failed, reject: fail } = Promise.withResolvers<never>()

  parser.on('file', (name, content, info) => {
    // A part without a file name is a form field; a text field named `metadata` counts as missing.
    if (info.filename === undefined || (name !== 'metadata' && name !== 'file')) {
      content.resume()
      return
    }
    if (name === 'metadata') {
      const read = readMetadata(content, metadata.length, options)
      // Told when its file comes, and at the end.
      read.catch(fail)
      metadata.push(read)
      return
    }
    const pair = metadata[files++]
    if (!pair) {
      content.resume()
      fail(execdError('INVALID_FILE_METADATA', `File part ${files} has no metadata part before it`))
      return
    }
    content.on('error', fail)
    work = work.then(async () => {
      const { path, permission } = await pair
      await writeFromStream(path, content, { permission, owner: options.owner })
    })
    work.catch(fail)
  })
  parser.on('partsLimit', () => fail(execdError('INVALID_FILE', `More than ${MAX_PARTS} parts`)))
  const parsed = new Promise<void>((resolve, reject) => {
    parser.once('close', resolve)
    parser.once('error', (error) =>
      reject(execdError('INVALID_FILE', `The body is not multipart/form-data: ${messageOf(error)}`, error)),
    )
    request.once('close', () => {
      if (!request.complete) reject(execdError('INVALID_FILE', 'The upload was cut off'))
    })
  })
  const watch = setInterval(() => {
    if (!request.isPaused() && request.socket.bytesRead === seen)
      fail(execdError('INVALID_FILE', `The upload brought nothing for ${IDLE_MS} ms`))
    seen = request.socket.bytesRead
  }, IDLE_MS)
  let seen = -1
  request.pipe(parser)
  try {
    await Promise.race([parsed, failed])
    await Promise.race([work, failed])
  } catch (error) {
    request.unpipe(parser)
    // Whatever is being written ends with an error, which removes it again.
    parser.destroy()
    throw error instanceof ApiError ? error : explain(error)
  } finally {
    clearInterval(watch)
  }
  if (metadata.length === 0) throw execdError('INVALID_FILE_METADATA', 'The upload has no "metadata" part')
  if (files === 0) throw execdError('INVALID_FILE_CONTENT', 'The upload has no "file" part')
  if (files !== metadata.length)
    throw execdError(
      'INVALID_FILE',
      `The upload has ${metadata.length} "metadata" parts and ${files} "file" parts`,
    )
  await Promise.all(metadata)
}

function openParser(request: IncomingMessage): busboy.Busboy {
  const type = request.headers['content-type'] ?? ''
  try {
    // The parser would read plain forms too.
    if (!/^multipart\/form-data\b/i.test(type)) throw new Error('Not multipart')
    return busboy({
      headers: request.headers,
      defParamCharset: 'utf8',
      limits: { parts: MAX_PARTS, headerPairs: 100, fieldSize: MAX_METADATA_BYTES },
    })
  } catch (error) {
    throw execdError(
      'INVALID_FILE',
      `The body must be multipart/form-data: found the content type "${type}"`,
      error,
    )
  }
}

async function readMetadata(content: Readable, index: number, options: UploadOptions): Promise<Metadata> {
  const name = `metadata part ${index + 1}`
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of content as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_METADATA_BYTES)
      throw execdError('INVALID_FILE_METADATA', `${name} is larger than ${MAX_METADATA_BYTES} bytes`)
    chunks.push(chunk)
  }
  try {
    const body = asObject(JSON.parse(Buffer.concat(chunks).toString('utf8')), name)
    const path = resolvePath(checkText(field(body, 'path') ?? '', `${name}: path`), options.paths)
    refuseVital(path, options.vital)
    return { path, permission: parsePermission(body, name, options.users) }
  } catch (error) {
    if (error instanceof ApiError) throw execdError('INVALID_FILE_METADATA', error.message, error)
    throw execdError('INVALID_FILE_METADATA', `${name} is not valid JSON`, error)
  }
}

function explain(error: unknown): Error {
  return execdError('RUNTIME_ERROR', `Cannot store an uploaded file: ${messageOf(error)}`, error)
}
