// A connection to a server for as long as the requests of one client go by it.

import type { Socket } from 'node:net'
import type { Relaying } from './exchange.ts'
import { HeadedWriter } from './headed-writer.ts'

export type LinkListener = {
  fromServer: (link: Http1Link, chunk: Buffer) => void
  /** More may be written. */
  serverDrained: () => void
  /** `isClean`: with a proper end. */
  serverGone: (link: Http1Link, isClean: boolean) => void
  /** It takes nothing of what waits for it. */
  serverStalled: (link: Http1Link) => void
}

export type LinkOptions = Pick<Relaying, 'stalls'> & Pick<Http1Link, 'isUsed'>

export class Http1Link {
  readonly socket: Socket
  readonly out: HeadedWriter
  /** Whether a request was answered on it before: then it may have been closed meanwhile. */
  isUsed: boolean
  readonly #data: (chunk: Buffer) => void
  readonly #drain: () => void
  readonly #end: () => void
  readonly #close: () => void
  readonly #unwatch: () => void

  constructor(socket: Socket, to: LinkListener, { isUsed, stalls }: LinkOptions) {
    this.socket = socket
    this.isUsed = isUsed
    this.out = new HeadedWriter(socket)
    this.#data = (chunk) => to.fromServer(this, chunk)
    this.#drain = () => to.serverDrained()
    this.#end = () => to.serverGone(this, true)
    this.#close = () => to.serverGone(this, false)
    this.#unwatch = stalls.watchSocket(socket, () => to.serverStalled(this))
    socket.on('data', this.#data).on('drain', this.#drain).on('end', this.#end).on('close', this.#close)
    socket.resume()
  }

  /** Nothing of it is heard any more. */
  detach(): Socket {
    const { socket } = this
    this.#unwatch()
    return socket
      .off('data', this.#data)
      .off('drain', this.#drain)
      .off('end', this.#end)
      .off('close', this.#close)
  }
}
