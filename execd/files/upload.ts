// Uploads: pairs of a `metadata` and a `file` part, each file streamed to its place as it arrives (contract: execd.md 6.2). While
// one piece is written the next ones are received; a bound on what waits holds the client back. The n-th file belongs to the
// n-th metadata. All clients send the metadata first; a file that comes before its own waits elsewhere until the end.

import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname } from 'node:path'
import { ApiError, messageOf, systemCodeOf } from '../../lib/errors.ts'
import { execdError } from '../http/answer.ts'
import { asObject, checkText, field } from '../http/body.ts'
import type { Users } from '../users.ts'
import { makeDirectory } from './change.ts'
import { type Expectation, parseExpectation } from './expectation.ts'
import { IncomingFile } from './incoming-file.ts'
import {
  MultipartError,
  MultipartParser,
  type PartHandler,
  type PartHead,
  parseBoundary,
} from './multipart.ts'
import { type Permission, parsePermission } from './permission.ts'
import { openSpool, type Spool } from './spool.ts'
import { refuseVital } from './vital.ts'
import { openReplacement, type Writing, writableTarget } from './write.ts'

const MAX_METADATA_BYTES = 64 << 10
const MAX_FILES = 20_000
/** How large a file may be that comes before its metadata. */
const MAX_EARLY_BYTES = 1 << 30
/** What may have been received and not written yet. */
const MAX_WAITING_BYTES = 8 << 20
const MAX_WAITING_FILES = 256
/** The same of all uploads; with more, each gets on with what it has before it takes more. */
const MAX_WAITING_IN_ALL = 32 << 20
/** How long an upload may bring nothing before it is given up. */
const IDLE_MS = 120_000

export type UploadOptions = { resolve: (path: string) => string; users: Users; writing: Writing }

type Metadata = { path: string; permission: Permission; expected: Expectation | undefined }

/** Stores all files of an upload, in order. The first that fails ends it; those before it stay. */
export async function receiveUpload(request: IncomingMessage, options: UploadOptions): Promise<void> {
  const type = request.headers['content-type'] ?? ''
  const boundary = parseBoundary(type)
  if (boundary === undefined)
    throw execdError(
      'INVALID_FILE',
      `The body must be multipart/form-data with a boundary: found the content type "${type.slice(0, 200)}"`,
    )
  const upload = new Upload(options)
  const stop = new AbortController()
  const received = receive(request, upload, new MultipartParser(boundary, upload), stop.signal)
  const stored = upload.store(stop.signal)
  try {
    await Promise.race([received, stored])
    await Promise.all([received, stored])
    await upload.finish()
  } catch (error) {
    throw explain(error)
  } finally {
    stop.abort()
    // Whatever is being written is removed before the answer says that it failed.
    await Promise.allSettled([received, stored])
    await upload.discard()
  }
}

class Upload implements PartHandler {
  readonly #options: UploadOptions
  readonly #metadata: (Metadata | Error)[] = []
  readonly #waiting: IncomingFile[] = []
  /** Files that came before their metadata, by their number. */
  readonly #spooled: { index: number; spool: Spool }[] = []
  #files = 0
  #current: { kind: 'metadata'; chunks: Buffer[]; bytes: number } | IncomingFile | undefined
  #waitingBytes = 0
  #isReceived = false
  #wake = () => {}
  /** Asked to go on once there is room again. */
  onRoom = () => {}
  #hasMetadataField = false

  constructor(options: UploadOptions) {
    this.#options = options
  }

  get isFull(): boolean {
    if (this.#waitingBytes > MAX_WAITING_BYTES || this.#waiting.length > MAX_WAITING_FILES) return true
    return this.#waitingBytes > 0 && this.#options.writing.waiting.bytes > MAX_WAITING_IN_ALL
  }

  begin({ name, filename }: PartHead): void {
    this.#current = undefined
    // A part without a file name is a form field; a text field named `metadata` counts as missing.
    if (filename === undefined) {
      this.#hasMetadataField ||= name === 'metadata'
      return
    }
    if (name !== 'metadata' && name !== 'file') return
    if ((name === 'file' ? this.#files : this.#metadata.length) === MAX_FILES)
      throw execdError('INVALID_FILE', `The upload has more than ${MAX_FILES} files`)
    if (name === 'metadata') {
      this.#current = { kind: 'metadata', chunks: [], bytes: 0 }
      return
    }
    this.#current = new IncomingFile(this.#files++)
    this.#waiting.push(this.#current)
    this.#wake()
  }

  data(bytes: Buffer): void {
    const current = this.#current
    if (current instanceof IncomingFile) {
      current.add(bytes)
      this.#addWaiting(bytes.length)
    } else if (current) {
      current.bytes += bytes.length
      if (current.bytes > MAX_METADATA_BYTES)
        throw execdError(
          'INVALID_FILE_METADATA',
          `metadata part ${this.#metadata.length + 1} is larger than ${MAX_METADATA_BYTES} bytes`,
        )
      current.chunks.push(bytes)
    }
  }

  end(): void {
    const current = this.#current
    this.#current = undefined
    if (current instanceof IncomingFile) current.end()
    else if (current) this.#metadata.push(this.#readMetadata(Buffer.concat(current.chunks).toString('utf8')))
  }

  /** Nothing more comes. */
  received(): void {
    this.#isReceived = true
    this.#wake()
  }

  /** Writes file after file until all that was received is written. */
  async store(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#wake())
    for (;;) {
      const file = this.#waiting[0]
      if (file) {
        await this.#storeFile(file, signal)
        this.#waiting.shift()
        this.onRoom()
      } else if (this.#isReceived) return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
      signal.throwIfAborted()
    }
  }

  /** Puts what came before its metadata in its place, and sees that nothing is missing. */
  async finish(): Promise<void> {
    const { length } = this.#metadata
    if (length === 0)
      throw execdError(
        'INVALID_FILE_METADATA',
        `The upload has no "metadata" part${this.#hasMetadataField ? ' with a file name: a form field of that name does not count' : ''}`,
      )
    if (this.#files === 0) throw execdError('INVALID_FILE_CONTENT', 'The upload has no "file" part')
    for (const { index, spool } of this.#spooled) {
      const metadata = this.#metadata[index]
      if (metadata) await this.#replace(metadata, (handle) => spool.copyTo(handle))
    }
    for (const metadata of this.#metadata) if (metadata instanceof Error) throw metadata
    if (this.#files !== length)
      throw execdError(
        'INVALID_FILE',
        `The upload has ${length} "metadata" parts and ${this.#files} "file" parts`,
      )
  }

  async discard(): Promise<void> {
    this.#addWaiting(-this.#waitingBytes)
    for (const { spool } of this.#spooled) await spool.close()
  }

  #addWaiting(bytes: number): void {
    this.#waitingBytes += bytes
    this.#options.writing.waiting.bytes += bytes
  }

  async #storeFile(file: IncomingFile, signal: AbortSignal): Promise<void> {
    const onWritten = (bytes: number) => {
      this.#addWaiting(-bytes)
      this.onRoom()
    }
    const metadata = this.#metadata[file.index]
    if (metadata) return this.#replace(metadata, (handle) => file.writeTo(handle, { signal, onWritten }))
    const spool = await openSpool(tmpdir(), MAX_EARLY_BYTES, 'A file that comes before its "metadata" part')
    this.#spooled.push({ index: file.index, spool })
    await file.writeTo(spool, { signal, onWritten })
  }

  async #replace(
    metadata: Metadata | Error,
    write: (handle: { writev(buffers: Buffer[]): Promise<{ bytesWritten: number }> }) => Promise<void>,
  ): Promise<void> {
    if (metadata instanceof Error) throw metadata
    const { path, permission, expected } = metadata
    const { writing } = this.#options
    const target = await writableTarget(path, writing.vital)
    if (!target.existing) await makeDirectory(dirname(target.path), writing.owner)
    const replacement = await openReplacement(target, { permission, expected, writing })
    try {
      await write(replacement.handle)
      await replacement.commit()
    } finally {
      await replacement.discard()
    }
  }

  #readMetadata(text: string): Metadata | Error {
    const { resolve, users, writing } = this.#options
    const name = `metadata part ${this.#metadata.length + 1}`
    try {
      const body = asObject(JSON.parse(text), name)
      const path = resolve(checkText(field(body, 'path') ?? '', `${name}: path`))
      refuseVital(path, writing.vital)
      return { path, permission: parsePermission(body, name, users), expected: parseExpectation(body, name) }
    } catch (error) {
      return error instanceof ApiError
        ? execdError('INVALID_FILE_METADATA', error.message, error)
        : execdError('INVALID_FILE_METADATA', `${name} is not valid JSON`, error)
    }
  }
}

/** Feeds the body to the parser, no faster than it is stored. */
function receive(
  request: IncomingMessage,
  upload: Upload,
  parser: MultipartParser,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let seen = -1
    const watch = setInterval(() => {
      if (!request.isPaused() && request.socket.bytesRead === seen)
        finish(() => reject(execdError('INVALID_FILE', `The upload brought nothing for ${IDLE_MS} ms`)))
      seen = request.socket.bytesRead
    }, IDLE_MS)
    const finish = (act: () => void) => {
      clearInterval(watch)
      request.off('data', take)
      request.off('end', end)
      request.off('close', close)
      request.off('error', close)
      upload.received()
      act()
    }
    const take = (chunk: Buffer) => {
      try {
        parser.push(chunk)
        if (upload.isFull) request.pause()
      } catch (error) {
        finish(() => reject(error))
      }
    }
    const end = () => {
      try {
        parser.end()
        finish(resolve)
      } catch (error) {
        finish(() => reject(error))
      }
    }
    const close = () => finish(() => reject(execdError('INVALID_FILE', 'The upload was cut off')))
    upload.onRoom = () => {
      if (!upload.isFull && request.isPaused()) request.resume()
    }
    signal.addEventListener('abort', () => finish(() => reject(signal.reason)))
    request.on('data', take)
    request.on('end', end)
    request.on('close', close)
    // A client that leaves says so twice.
    request.on('error', close)
  })
}

function explain(error: unknown): unknown {
  if (error instanceof ApiError) return error
  if (error instanceof MultipartError)
    return execdError('INVALID_FILE', `The body is not multipart/form-data: ${error.message}`, error)
  const code = systemCodeOf(error)
  if (code === undefined) return error
  // No file can be called so.
  if (code === 'ENAMETOOLONG' || code === 'ELOOP')
    return execdError('INVALID_FILE_METADATA', `Cannot store an uploaded file: ${messageOf(error)}`, error)
  return execdError('RUNTIME_ERROR', `Cannot store an uploaded file: ${messageOf(error)}`, error)
}
