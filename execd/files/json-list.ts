// A JSON list that is sent as it is made, so that a large tree is never held in memory. The status goes out with the first piece:
// what fails before it is an ordinary error.

import type { ServerResponse } from 'node:http'
import { untilDrained } from '../http/answer.ts'

const PIECE_CHARS = 64 << 10
/** How many directories could not be read, and are missing from the list: a header of short answers, a trailer of long ones. */
const UNREADABLE_HEADER = 'EXECD-UNREADABLE-DIRECTORIES'

export class JsonList {
  readonly #response: ServerResponse
  #piece = '['
  #isFirst = true
  #unreadable = 0

  constructor(response: ServerResponse) {
    this.#response = response
  }

  /** Adds an item. A promise asks to wait until the client has taken what was sent. */
  add(item: object): undefined | Promise<void> {
    this.#piece += this.#isFirst ? JSON.stringify(item) : `,${JSON.stringify(item)}`
    this.#isFirst = false
    return this.#piece.length < PIECE_CHARS ? undefined : this.#send()
  }

  /** Notes that a directory could not be read. */
  readonly addUnreadable = (): void => {
    this.#unreadable++
  }

  end(): void {
    const response = this.#response
    const last = Buffer.from(`${this.#piece}]`)
    const told = this.#unreadable > 0 ? { [UNREADABLE_HEADER]: String(this.#unreadable) } : {}
    if (response.headersSent) response.addTrailers(told)
    else this.#begin({ 'Content-Length': last.length, ...told })
    response.end(last)
  }

  #begin(headers: Record<string, string | number>): void {
    this.#response.writeHead(200, { 'Content-Type': 'application/json; charset=utf-8', ...headers })
  }

  async #send(): Promise<void> {
    const response = this.#response
    if (!response.headersSent) this.#begin({ Trailer: UNREADABLE_HEADER })
    const piece = this.#piece
    this.#piece = ''
    response.write(piece)
    await untilDrained(response)
  }
}
