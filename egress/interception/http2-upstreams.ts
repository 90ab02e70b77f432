// Connections by HTTP/2 to the servers that requests with secrets go to: all clients of a sandbox that ask for the same server share one,
// and another when it has as many requests under way as the server takes, or holds what some of them do not read.

import type { Socket } from 'node:net'
import { Counts } from '../../lib/counts.ts'
import { Http2Connection } from '../http2/connection.ts'
import { UNSAID } from '../http2/settings.ts'
import type { StallWatch } from '../stall-watch.ts'
import { HTTP2, keyOf, type Upstream, UpstreamError, type Upstreams } from './upstreams.ts'

export type Http2UpstreamsOptions = {
  upstreams: Pick<Upstreams, 'dial'>
  stalls: StallWatch
  /** How long one is kept on which nothing is under way. */
  idleMs?: number
  /** Of one sandbox: of more, those on which nothing is under way are closed, and requests wait where they can. */
  each?: number
}

type Opening = { connection: Promise<Http2Connection>; requests: number }

const IDLE_MS = 15_000
const EACH = 64
/** Of one sandbox: those beyond it may send less ahead, so that all together cannot fill the memory. */
const WITH_WIDE_WINDOWS = 8
const NARROW_WINDOW_BYTES = 256 * 1024
/** To one server: of fewer, one that is clogged gets no more requests. */
const UNCLOGGED = 4

export class Http2Upstreams {
  readonly #options: Http2UpstreamsOptions
  /** The newest last. */
  readonly #connections = new Map<string, Http2Connection[]>()
  readonly #opening = new Map<string, Opening>()
  /** Of each sandbox. */
  readonly #openings = new Counts()

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
    const kept = this.#connections.get(keyOf(to)) ?? []
    const isFree = ({ isOpen, isFull }: Http2Connection) => isOpen && !isFull
    const found = kept.findLast((connection) => isFree(connection) && !connection.isClogged)
    return found ?? (kept.length < UNCLOGGED ? undefined : kept.findLast(isFree))
  }

  /** The same, opened when there is none. Rejects with an UpstreamError. */
  open(to: Upstream): Http2Connection | Promise<Http2Connection> {
    const found = this.find(to)
    if (found) return found
    const underWay = this.#opening.get(keyOf(to))
    // As many as one takes for certain.
    if (underWay && (underWay.requests < UNSAID.maxStreams || this.#hasAll(to.sandboxId))) {
      underWay.requests++
      return underWay.connection
    }
    return (this.#hasAll(to.sandboxId) ? this.#leastBusy(to) : undefined) ?? this.#openNew(to)
  }

  /** Speaks HTTP/2 on a new connection. */
  adopt(to: Upstream, socket: Socket): Http2Connection {
    const { idleMs = IDLE_MS, stalls } = this.#options
    this.#makeRoom(to.sandboxId)
    const key = keyOf(to)
    const isNarrow = this.#of(to.sandboxId).length >= WITH_WIDE_WINDOWS
    const connection = new Http2Connection({
      socket,
      idleMs,
      stalls,
      ...(isNarrow && { windowBytes: NARROW_WINDOW_BYTES }),
      onClosing: () => this.#forget(key, connection),
    })
    stalls.watchSocket(socket, () => connection.destroy())
    if (connection.isOpen) this.#connections.set(key, [...(this.#connections.get(key) ?? []), connection])
    return connection
  }

  /** Ends what is kept for a sandbox. */
  remove(sandboxId: string): void {
    for (const connection of this.#of(sandboxId)) connection.destroy()
  }

  close(): void {
    for (const kept of [...this.#connections.values()]) for (const connection of kept) connection.destroy()
  }

  #openNew(to: Upstream): Promise<Http2Connection> {
    const key = keyOf(to)
    const opened = this.#openings.add(to.sandboxId)
    const connection = this.#options.upstreams
      .dial(to, [HTTP2])
      .then(({ socket, protocol }) => {
        if (protocol === HTTP2) return this.adopt(to, socket)
        socket.destroy()
        throw new UpstreamError(502, `the server ${to.host} does not speak HTTP/2 any more`)
      })
      .finally(() => {
        opened()
        if (this.#opening.get(key)?.connection === connection) this.#opening.delete(key)
      })
    this.#opening.set(key, { connection, requests: 1 })
    return connection
  }

  /** Whether a sandbox has as many as it may. */
  #hasAll(sandboxId: string): boolean {
    const { each = EACH } = this.#options
    return this.#of(sandboxId).length + this.#openings.of(sandboxId) >= each
  }

  /** One on which a request waits for others. */
  #leastBusy(to: Upstream): Http2Connection | undefined {
    const open = (this.#connections.get(keyOf(to)) ?? []).filter(({ isOpen }) => isOpen)
    return open.sort((one, other) => one.streamCount - other.streamCount)[0]
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
    for (const connection of own) {
      if (tooMany <= 0) return
      if (connection.streamCount > 0) continue
      connection.close()
      tooMany--
    }
  }

  #of(sandboxId: string): Http2Connection[] {
    return [...this.#connections]
      .filter(([key]) => key.startsWith(`${sandboxId} `))
      .flatMap(([, kept]) => kept)
  }
}
