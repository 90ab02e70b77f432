// The server's side of one client's connection by HTTP/1: a connection that is opened when a request needs it, and given back when none does.

import type { Socket } from 'node:net'
import type { Relaying } from './exchange.ts'
import { Http1Link, type LinkListener } from './http1-link.ts'

export type ServerConnections = {
  /** A connection on which nothing is under way; `isFresh` asks for a new one. Rejects with an UpstreamError. */
  open: (isFresh: boolean) => Socket | Promise<Socket>
  /** Takes a connection back that may be used again. */
  keep: (upstream: Socket) => void
}

export type ServerSideOptions = ServerConnections &
  Pick<Relaying, 'stalls'> & {
    listener: LinkListener
    /** Asked when a connection comes: the client may have gone meanwhile. */
    isWanted: () => boolean
    onOpen: () => void
    onFailure: (error: unknown) => void
  }

export class Http1ServerSide {
  readonly #options: ServerSideOptions
  #link: Http1Link | undefined

  constructor(options: ServerSideOptions) {
    this.#options = options
  }

  get link(): Http1Link | undefined {
    return this.#link
  }

  open(isFresh: boolean): void {
    const { open, isWanted, onFailure } = this.#options
    let opening: Socket | Promise<Socket>
    try {
      opening = open(isFresh)
    } catch (error) {
      onFailure(error)
      return
    }
    if (!(opening instanceof Promise)) {
      this.#begin(opening, true)
      return
    }
    opening.then(
      (socket) => {
        if (isWanted()) this.#begin(socket, false)
        else socket.destroy()
      },
      (error: unknown) => onFailure(error),
    )
  }

  /** Gives the connection away. */
  release(isReusable: boolean): void {
    const link = this.#link
    if (!link) return
    this.#link = undefined
    const socket = link.detach()
    if (isReusable) this.#options.keep(socket)
    else socket.destroy()
  }

  #begin(socket: Socket, isUsed: boolean): void {
    const { listener, stalls, onOpen } = this.#options
    this.#link = new Http1Link(socket, listener, { isUsed, stalls })
    onOpen()
  }
}
