// Sending bytes of a file as fast as the client takes them: one piece is read while the one before is on its way, through two
// buffers that are used again and again, so that no size of a file makes garbage.

import type { FileHandle } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { execdError } from '../http/answer.ts'
import type { ByteRange } from './range.ts'

const CHUNK_BYTES = 256 << 10

export class ByteSender {
  readonly #response: ServerResponse
  readonly #handle: FileHandle
  /** The whole content, if it is known already. */
  readonly #content: Buffer | undefined
  readonly #buffers: Buffer[] = []

  constructor(response: ServerResponse, handle: FileHandle, content?: Buffer) {
    this.#response = response
    this.#handle = handle
    this.#content = content
  }

  /** Sends a range. False when the client has left. */
  async send({ start, end }: ByteRange): Promise<boolean> {
    if (this.#content) return await this.write(this.#content.subarray(start, end + 1))
    let reading = this.#read(0, start, end)
    for (let at = start, turn = 1; at <= end; turn++) {
      const bytes = await reading
      // The client has been promised more: a broken connection tells it, a short answer would not.
      if (bytes.length === 0) throw execdError('RUNTIME_ERROR', 'The file became shorter while it was sent')
      at += bytes.length
      reading = this.#read(turn % 2, at, end)
      // Awaited in the next round, or not at all.
      reading.catch(() => {})
      if (!(await this.write(bytes))) {
        // The buffer and the file are free again only then.
        await reading.catch(() => {})
        return false
      }
    }
    return true
  }

  /** Sends `head` and what comes after it, to the end, and ends the answer. */
  async sendRest(head: Buffer): Promise<void> {
    for (let bytes = head; bytes.length > 0; ) {
      if (!(await this.write(bytes))) return
      const buffer = this.#buffer(0)
      bytes = buffer.subarray(0, (await this.#handle.read(buffer, 0, buffer.length, null)).bytesRead)
    }
    this.#response.end()
  }

  /** Resolves when the bytes have left; false when the client has. */
  write(bytes: Buffer): Promise<boolean> {
    const response = this.#response
    if (response.destroyed) return Promise.resolve(false)
    if (bytes.length === 0) return Promise.resolve(true)
    return new Promise((resolve) => {
      const gone = () => resolve(false)
      response.once('close', gone)
      response.write(bytes, (error) => {
        response.off('close', gone)
        resolve(!error)
      })
    })
  }

  async #read(index: number, at: number, end: number): Promise<Buffer> {
    const length = Math.min(CHUNK_BYTES, end - at + 1)
    if (length <= 0) return Buffer.alloc(0)
    const buffer = this.#buffer(index)
    const { bytesRead } = await this.#handle.read(buffer, 0, length, at)
    return buffer.subarray(0, bytesRead)
  }

  #buffer(index: number): Buffer {
    this.#buffers[index] ??= Buffer.allocUnsafeSlow(CHUNK_BYTES)
    return this.#buffers[index]
  }
}
