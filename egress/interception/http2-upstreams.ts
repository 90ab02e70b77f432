// Connections by HTTP/2 to the servers that requests with secrets go to: all clients of a sandbox that ask for the same server share one,
// and another when it has as many requests under way as the server takes.

import type { Socket } from 'node:net'
import { Http2Connection } from '../http2/connection.ts'
import { HTTP2, keyOf, type Upstream, UpstreamError, type Upstreams } from './upstreams.ts'

export type Http2UpstreamsOptions = {
  upstreams: Pick<Upstreams, 'dial'>
  /** How long one is kept on which nothing is under way. */
  idleMs?: number
  /** Of one sandbox: of more, those on which nothing is under way are closed. */
  each?: number
}

const IDLE_MS = 15_000
const EACH = 64

export class Http2Upstreams {
  readonly #options: Http2UpstreamsOptions
  /** The newest last. */
  readonly #connections = new Map<string, Http2Connection[]>()
  readonly #opening = new Map<string, Promise<Http2Connection>>()

  constructor(options: Http2UpstreamsOptions) {
    this.#options = options
  }

  /** Of connections that are kept. */
  get size(): number {
    let size = 0
    for (const kept of this.#connections.values()) size += kept.length
    return size
  }

  /** One that takes another request at once, if there is one. */
  find(to: Upstream): Http2Connection | undefined {
    return this.#connections.get(keyOf(to))?.findLast(({ isOpen, isFull }) => isOpen && !isFull)
  }

  /** The same, opened when there is none. Rejects with an UpstreamError. */
  open(to: Upstream): Http2Connection | Promise<Http2Connection> {
    const found = this.find(to)
    if (found) return found
    const key = keyOf(to)
    const underWay = this.#opening.get(key)
    if (underWay) return underWay
    const opening = this.#options.upstreams
      .dial(to, [HTTP2])
      .then(({ socket, protocol }) => {
        if (protocol === HTTP2) return this.adopt(to, socket)
        socket.destroy()
        throw new UpstreamError(502, `the server ${to.host} does not speak HTTP/2 any more`)
      })
      .finally(() => this.#opening.delete(key))
    this.#opening.set(key, opening)
    return opening
  }

  /** Speaks HTTP/2 on a new connection. */
  adopt(to: Upstream, socket: Socket): Http2Connection {
    const { idleMs = IDLE_MS } = this.#options
    this.#makeRoom(to.sandboxId)
    const key = keyOf(to)
    const connection = new Http2Connection({
      socket,
      idleMs,
      onClosing: () => this.#forget(key, connection),
    })
    if (connection.isOpen) this.#connections.set(key, [...(this.#connections.get(key) ?? []), connection])
    return connection
  }

  /** Ends what is kept for a sandbox. */
  remove(sandboxId: string): void {
    for (const { connection } of this.#of(sandboxId)) connection.destroy()
  }

  close(): void {
    for (const kept of [...this.#connections.values()]) for (const connection of kept) connection.destroy()
  }

  #forget(key: string, connection: Http2Connection): void {
    const left = this.#connections.get(key)?.filter((each) => each !== connection) ?? []
    if (left.length > 0) this.#connections.set(key, left)
    else this.#connections.delete(key)
  }

  /** Closes connections of a sandbox that wait for requests, when it has as many as it may. Busy ones are as many as its clients'. */
  #makeRoom(sandboxId: string): void {
    const { each = EACH } = this.#options
    const own = this.#of(sandboxId)
    let tooMany = own.length + 1 - each
    for (const { connection } of own) {
      if (tooMany <= 0) return
      if (connection.streamCount > 0) continue
      connection.close()
      tooMany--
    }
  }

  #of(sandboxId: string): { key: string; connection: Http2Connection }[] {
    return [...this.#connections]
      .filter(([key]) => key.startsWith(`${sandboxId} `))
      .flatMap(([key, kept]) => kept.map((connection) => ({ key, connection })))
  }
}
