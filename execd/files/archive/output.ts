// Where an archive goes: to the client, compressed or not. Everything is copied into one of two buffers, and while one is sent the
// other is filled: small files cost no write of their own, and no number of them makes garbage. The status goes out with the first
// buffer, so that what fails before it is an ordinary error.

import type { ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import { execdError } from '../../http/answer.ts'

const BUFFER_BYTES = 512 << 10

type Compression = Writable & NodeJS.ReadableStream

export class ArchiveOutput {
  readonly #response: ServerResponse
  readonly #headers: Record<string, string>
  readonly #compression: Compression | undefined
  #filling = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  #spare = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  #filled = 0
  /** Resolves when the spare buffer has been taken. */
  #sending: Promise<void> = Promise.resolve()
  /** How many bytes were written so far, before they were compressed. */
  written = 0

  constructor(response: ServerResponse, headers: Record<string, string>, compression?: Compression) {
    this.#response = response
    this.#headers = headers
    this.#compression = compression
    if (!compression) return
    compression.pipe(response, { end: false })
    // Nothing more is taken once the client has left, and nobody would end it.
    response.once('close', () => compression.destroy())
  }

  /** Takes `bytes`, which may be used again at once, or when the promise has resolved if there is one. */
  write(bytes: Buffer): undefined | Promise<void> {
    if (bytes.length > BUFFER_BYTES - this.#filled) return this.#writeInParts(bytes)
    this.#filled += bytes.copy(this.#filling, this.#filled)
    this.written += bytes.length
    return undefined
  }

  /** Sends what is left, and ends the answer. */
  async end(trailers: Record<string, string>): Promise<void> {
    await this.#swap()
    await this.#sending
    const compression = this.#compression
    if (compression && !compression.destroyed)
      await new Promise<void>((resolve) => {
        compression.once('end', resolve)
        compression.once('close', resolve)
        compression.end()
      })
    if (this.#response.destroyed) return
    this.#response.addTrailers(trailers)
    this.#response.end()
  }

  async #writeInParts(bytes: Buffer): Promise<void> {
    for (let rest = bytes; rest.length > 0; ) {
      if (this.#filled === BUFFER_BYTES) await this.#swap()
      const taken = rest.copy(this.#filling, this.#filled)
      this.#filled += taken
      this.written += taken
      rest = rest.subarray(taken)
    }
  }

  /** Sends the buffer that is filled, once the other has gone. Throws when the client has left. */
  async #swap(): Promise<void> {
    await this.#sending
    const response = this.#response
    if (response.destroyed) throw execdError('RUNTIME_ERROR', 'The client has left')
    if (!response.headersSent) response.writeHead(200, this.#headers)
    const sent = this.#filling
    const bytes = sent.subarray(0, this.#filled)
    this.#filling = this.#spare
    this.#spare = sent
    this.#filled = 0
    this.#sending = new Promise((resolve) => {
      const done = () => {
        response.off('close', done)
        resolve()
      }
      response.once('close', done)
      const target = this.#compression ?? response
      target.write(bytes, done)
    })
  }
}
