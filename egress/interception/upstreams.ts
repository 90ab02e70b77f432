// Connections to the servers that requests with secrets go to. A server has to prove to be what it is called, by a certificate that the
// operator's machine trusts; nothing is sent before. What is idle is kept for the next request of the same sandbox to the same server.

import { connect, type Socket } from 'node:net'
import { connect as connectTls, type SecureContext, type TLSSocket } from 'node:tls'
import { messageOf } from '../../lib/errors.ts'
import { Lanes } from '../../lib/lanes.ts'
import { SharedCache, type SharedCacheLimits } from '../../lib/shared-cache.ts'
import type { VaultServer } from '../vault/port.ts'
import type { Refusal } from './judge-request.ts'

/** A server as one sandbox reaches it. */
export type Upstream = VaultServer & { sandboxId: string; address: string }

/** `protocol` is empty where none was agreed on. */
export type Dialed = { socket: Socket; protocol: string }

export type UpstreamLimits = {
  /** Connections that are idle. */
  idle: SharedCacheLimits
  tickets: SharedCacheLimits
}

export type UpstreamsOptions = {
  /** What vouches for servers. */
  trust: SecureContext
  connectMs?: number
  idleMs?: number
  limits?: Partial<UpstreamLimits>
}

/** A connection on which nothing is under way. */
export type Idle = {
  socket: Socket
  /** Undefined when it is not good any more. */
  take(): Socket | undefined
}

/** Why there is no connection, as the sandbox may hear it. */
export class UpstreamError extends Error {
  readonly status: 502 | 504

  constructor(status: 502 | 504, message: string, options?: ErrorOptions) {
    super(message, options)
    this.status = status
  }
}

/** What is answered when there is no connection. */
export function refusalOf(error: unknown, { host }: Pick<VaultServer, 'host'>): Refusal {
  return error instanceof UpstreamError
    ? { status: error.status, text: error.message }
    : { status: 502, text: `there is no connection to the server ${host}, for a reason that is ours` }
}

export const HTTP2 = 'h2'
const CONNECT_MS = 15_000
const KEEP_ALIVE_MS = 60_000
const IDLE_MS = 15_000
const LIMITS: UpstreamLimits = {
  idle: { each: 64, total: 512 },
  tickets: { each: 64, total: 1024 },
}

export class Upstreams {
  readonly #options: UpstreamsOptions
  readonly #idlePlaces: Lanes
  readonly #idle = new Map<string, Set<Idle>>()
  /** Connections whose server was offered HTTP/2 and chose otherwise. */
  readonly #withoutHttp2 = new WeakSet<Socket>()
  /** By which a server knows us again, so that the next handshake is short. */
  readonly #tickets: SharedCache<Buffer>

  constructor(options: UpstreamsOptions) {
    this.#options = options
    const { idle, tickets } = { ...LIMITS, ...options.limits }
    this.#idlePlaces = new Lanes(idle.total, { each: idle.each })
    this.#tickets = new SharedCache(tickets)
  }

  /** Of connections that are kept. */
  get size(): number {
    return this.#idlePlaces.taken
  }

  /**
   * Whether a connection is kept on which nothing is under way; for who could speak HTTP/2, one whose server was asked for that and speaks
   * HTTP/1.
   */
  hasIdle(to: Upstream, offersHttp2 = false): boolean {
    const kept = this.#idle.get(keyOf(to))
    if (!kept || !offersHttp2) return kept !== undefined
    for (const { socket } of kept) if (this.#withoutHttp2.has(socket)) return true
    return false
  }

  takeIdle(to: Upstream): Socket | undefined {
    for (const idle of this.#idle.get(keyOf(to)) ?? []) {
      const socket = idle.take()
      if (socket) return socket
    }
    return undefined
  }

  /** Keeps a connection on which everything has been said. */
  keep(to: Upstream, socket: Socket): void {
    const { idleMs = IDLE_MS } = this.#options
    if (!this.#idlePlaces.isOpenTo(to.sandboxId)) {
      socket.destroy()
      return
    }
    const key = keyOf(to)
    const kept = this.#idle.get(key) ?? new Set()
    const leave = this.#idlePlaces.take(to.sandboxId)
    const idle = setAside(socket, idleMs, () => {
      leave()
      kept.delete(idle)
      if (kept.size === 0 && this.#idle.get(key) === kept) this.#idle.delete(key)
    })
    this.#idle.set(key, kept.add(idle))
  }

  /** A new connection, and what the server wants to speak on it. Rejects with an UpstreamError. */
  async dial(to: Upstream, protocols: readonly string[]): Promise<Dialed> {
    const socket = to.scheme === 'https' ? this.#openTls(to, protocols) : openTcp(to)
    await this.#opened(socket, to)
    const protocol = 'alpnProtocol' in socket ? String(socket.alpnProtocol || '') : ''
    if (protocol !== HTTP2 && protocols.includes(HTTP2)) this.#withoutHttp2.add(socket)
    return { socket, protocol }
  }

  /** Ends what is kept for a sandbox. */
  remove(sandboxId: string): void {
    const isOf = (key: string) => key.startsWith(`${sandboxId} `)
    for (const [key, kept] of [...this.#idle])
      if (isOf(key)) for (const { socket } of [...kept]) socket.destroy()
    this.#tickets.removeAll(sandboxId)
  }

  close(): void {
    for (const kept of [...this.#idle.values()]) for (const { socket } of [...kept]) socket.destroy()
  }

  #openTls(to: Upstream, protocols: readonly string[]): TLSSocket {
    const key = keyOf(to)
    const session = this.#tickets.get(key)
    const socket = connectTls({
      host: to.address,
      port: to.port,
      servername: to.host,
      secureContext: this.#options.trust,
      rejectUnauthorized: true,
      ...(protocols.length > 0 && { ALPNProtocols: [...protocols] }),
      ...(session && { session }),
    })
    socket.on('session', (ticket: Buffer) => {
      this.#tickets.set(to.sandboxId, key, ticket)
    })
    return socket
  }

  async #opened(socket: Socket, to: Upstream): Promise<void> {
    const { connectMs = CONNECT_MS } = this.#options
    socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS)
    await new Promise<void>((resolve, reject) => {
      const fail = (status: 502 | 504, problem: string, cause?: Error) => {
        settle()
        socket.destroy()
        reject(new UpstreamError(status, problem, { cause }))
      }
      const settle = () => {
        clearTimeout(timer)
        socket.off('close', closed).off('secureConnect', opened).off('connect', opened)
      }
      const opened = () => {
        settle()
        resolve()
      }
      const closed = () => fail(502, `the server ${to.host} closed the connection`)
      const timer = setTimeout(
        () => fail(504, `the server ${to.host} did not answer within ${connectMs / 1000} seconds`),
        connectMs,
      )
      // For as long as the connection lasts: after the beginning, its close says it all.
      socket.on('error', (error) => fail(502, problemOf(error, to), error))
      socket.once('close', closed).once('encrypted' in socket ? 'secureConnect' : 'connect', opened)
    })
  }
}

/** Looks after a connection while nobody uses it. */
export function setAside(socket: Socket, idleMs: number, onGone: () => void = () => {}): Idle {
  const take = () => {
    socket.off('data', drop).off('end', drop).off('close', drop).off('timeout', drop).setTimeout(0)
    onGone()
    if (!socket.destroyed && socket.readable && socket.writable) return socket
    socket.destroy()
    return undefined
  }
  // What comes unasked would be taken for the answer to the next request.
  const drop = () => {
    take()
    socket.destroy()
  }
  socket.on('data', drop).on('end', drop).on('close', drop).on('timeout', drop).setTimeout(idleMs).resume()
  return { socket, take }
}

function openTcp({ address, port }: Upstream): Socket {
  return connect({ host: address, port })
}

export function keyOf({ sandboxId, scheme, host, address, port }: Upstream): string {
  return `${sandboxId} ${scheme} ${host} ${address} ${port}`
}

function problemOf(error: Error, { host, address, port }: Upstream): string {
  const code = 'code' in error ? String(error.code) : ''
  if (['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'EPIPE'].includes(code))
    return `the server ${host} (${address}, port ${port}) cannot be reached: ${code}`
  return `the server ${host} does not prove that it is ${host}, so nothing was sent to it: ${messageOf(error)}`
}
