// Connections whose server has a binding in the vault of their sandbox are read here instead of being passed on: the client is shown a
// certificate of its sandbox's authority, the server has to show a true one, and both speak what the server has agreed to.

import type { Socket } from 'node:net'
import {
  createSecureContext,
  getCACertificates,
  rootCertificates,
  type SecureContext,
  TLSSocket,
} from 'node:tls'
import { Counts } from '../../lib/counts.ts'
import type { Logger } from '../../lib/log.ts'
import type { SharedCacheLimits } from '../../lib/shared-cache.ts'
import type { StallWatch } from '../stall-watch.ts'
import type { VaultServer, Vaults } from '../vault/port.ts'
import type { Authorities } from './authority.ts'
import type { Exchange, Relaying } from './exchange.ts'
import { Http1Relay } from './http1-relay.ts'
import { relayHttp2 } from './http2-relay.ts'
import { Http2Upstreams, type Http2UpstreamsOptions } from './http2-upstreams.ts'
import { Leaves } from './leaves.ts'
import { SecretFinder } from './secret-finder.ts'
import {
  type Idle,
  setAside,
  type Upstream,
  UpstreamError,
  Upstreams,
  type UpstreamsOptions,
} from './upstreams.ts'

export type InterceptionOptions = {
  vaults: Vaults
  authorities: Authorities
  upstreams?: Omit<UpstreamsOptions, 'trust'>
  http2Upstreams?: Omit<Http2UpstreamsOptions, 'upstreams' | 'stalls'>
  trust: SecureContext
  /** Hears of every request. */
  onExchange: (sandboxId: string, exchange: Exchange) => void
  /** Finds out who takes nothing of what waits for it. */
  stalls: StallWatch
  log: Logger
  leaves?: SharedCacheLimits
  maxHeldBodies?: number
  handshakeMs?: number
}

/** A connection of a client, of which nothing has been passed on yet. */
export type Taken = {
  client: Socket
  sandboxId: string
  server: VaultServer
  /** Where the server is: an address that was answered for its name, to this sandbox. */
  address: string
  /** What the client offers to speak, of a TLS connection. Absent: it offers nothing. */
  protocols?: readonly string[]
}

type Begun = {
  /** What to speak with the client; empty: what is spoken where nothing is agreed on. */
  protocol: string
  /** The connection by which that was found out. */
  idle?: Idle
  /** Why there is none, for the first request to hear. */
  failure?: UpstreamError
}

/** Certificates that are kept: of one sandbox, and of all. */
const LEAVES = { each: 64, total: 512 }
/** Each is 1 MiB at most. */
const MAX_HELD_BODIES = 32
/** Connections of clients by HTTP/2, of one sandbox: those beyond it may send less ahead, so that all together cannot fill the memory. */
const WITH_WIDE_WINDOWS = 16
const NARROW_WINDOW_BYTES = 65_536
const HANDSHAKE_MS = 10_000
/** How long a server's connection is kept for the request that it was opened for. */
const FIRST_REQUEST_MS = 60_000
const READABLE = ['h2', 'http/1.1']

/** What vouches for servers: what the machine trusts, and what the operator adds (PEM). */
export function createTrust(extra: readonly string[] = []): SecureContext {
  const system = getCACertificates('system')
  const roots = system.length > 0 ? system : [...rootCertificates]
  return createSecureContext({ ca: [...roots, ...extra], minVersion: 'TLSv1.2' })
}

export class Interception {
  readonly #options: InterceptionOptions
  readonly #leaves: Leaves
  readonly #upstreams: Upstreams
  readonly #http2Upstreams: Http2Upstreams
  readonly #maxHeldBodies: number
  readonly #secrets = new SecretFinder()
  /** Bodies that are held until they are whole, of each sandbox: so that none takes the memory of all by beginning many. */
  readonly #heldBodies = new Counts()
  /** Connections by HTTP/2, of each sandbox. */
  readonly #http2Clients = new Counts()

  constructor(options: InterceptionOptions) {
    this.#options = options
    const {
      trust,
      stalls,
      upstreams,
      http2Upstreams,
      leaves = LEAVES,
      maxHeldBodies = MAX_HELD_BODIES,
    } = options
    this.#leaves = new Leaves(leaves)
    this.#maxHeldBodies = maxHeldBodies
    this.#upstreams = new Upstreams({ ...upstreams, trust })
    this.#http2Upstreams = new Http2Upstreams({ upstreams: this.#upstreams, stalls, ...http2Upstreams })
  }

  /** Whether connections to the server are to be read; who offers to speak nothing that is understood here goes on unread. */
  isFor(sandboxId: string, server: VaultServer, protocols?: readonly string[]): boolean {
    if (protocols && !protocols.some((protocol) => READABLE.includes(protocol))) return false
    return this.#options.vaults.vaultOf(sandboxId)?.hasBindingFor(server) ?? false
  }

  /** Goes on with a connection in place of its server. What the client has sent so far must have been put back. */
  take(taken: Taken): void {
    const serving = taken.server.scheme === 'https' ? this.#takeTls(taken) : this.#takePlain(taken)
    serving.catch((error: unknown) => {
      this.#options.log.error('cannot read a connection', { sandbox: taken.sandboxId, error })
      reset(taken.client)
    })
  }

  /** Forgets what is kept of a sandbox. */
  remove(sandboxId: string): void {
    this.#leaves.remove(sandboxId)
    this.#upstreams.remove(sandboxId)
    this.#http2Upstreams.remove(sandboxId)
  }

  close(): void {
    this.#upstreams.close()
    this.#http2Upstreams.close()
  }

  async #takePlain(taken: Taken): Promise<void> {
    this.#relayHttp1(taken, taken.client, undefined)
  }

  async #takeTls(taken: Taken): Promise<void> {
    const { client: raw, sandboxId, server, protocols } = taken
    const offered = protocols?.filter((protocol) => READABLE.includes(protocol)) ?? []
    const begun = await this.#begin(upstreamOf(taken), offered)
    const authority = this.#options.authorities.authorityOf(sandboxId)
    const client = new TLSSocket(raw, {
      isServer: true,
      secureContext: this.#leaves.contextOf(sandboxId, authority, server.host),
      ...(begun.protocol && { ALPNProtocols: [begun.protocol] }),
    })
    client.on('error', () => client.destroy())
    if (!(await secured(client, this.#options.handshakeMs ?? HANDSHAKE_MS))) begun.idle?.socket.destroy()
    else if (begun.protocol === 'h2') this.#relayHttp2(taken, client, begun)
    else this.#relayHttp1(taken, client, begun)
  }

  /** Asks the server what it speaks, unless that is known from a connection that is there. */
  async #begin(to: Upstream, offered: readonly string[]): Promise<Begun> {
    const fallback = offered.includes('http/1.1') ? 'http/1.1' : (offered[0] ?? '')
    const offersHttp2 = offered.includes('h2')
    if (offersHttp2 && this.#http2Upstreams.find(to)) return { protocol: 'h2' }
    if (fallback !== 'h2' && this.#upstreams.hasIdle(to, offersHttp2)) return { protocol: fallback }
    try {
      const { socket, protocol } = await this.#upstreams.dial(to, offered)
      if (protocol === 'h2') this.#http2Upstreams.adopt(to, socket)
      return { protocol, ...(protocol !== 'h2' && { idle: setAside(socket, FIRST_REQUEST_MS) }) }
    } catch (error) {
      // Who cannot have the server hears of it in a language that it understands.
      if (error instanceof UpstreamError) return { protocol: fallback, failure: error }
      throw error
    }
  }

  #relayHttp1(taken: Taken, client: Socket, begun: Begun | undefined): void {
    const to = upstreamOf(taken)
    let { idle, failure } = begun ?? {}
    const offered = begun?.protocol ? [begun.protocol] : []
    const openNew = async () => {
      const { socket } = await this.#upstreams.dial(to, offered)
      return socket
    }
    client.on('close', () => {
      const unused = idle?.take()
      if (unused) this.#upstreams.keep(to, unused)
    })
    new Http1Relay({
      ...this.#common(taken),
      client,
      open: (isFresh) => {
        const failed = failure
        const first = idle?.take()
        idle = undefined
        failure = undefined
        if (failed) return Promise.reject(failed)
        if (first) return Promise.resolve(first)
        return (isFresh ? undefined : this.#upstreams.takeIdle(to)) ?? openNew()
      },
      keep: (upstream) => this.#upstreams.keep(to, upstream),
      reset: () => reset(taken.client),
    }).begin()
  }

  #relayHttp2(taken: Taken, client: Socket, begun: Begun): void {
    const to = upstreamOf(taken)
    let { failure } = begun
    this.#options.stalls.watchSocket(client, () => reset(taken.client))
    const isNarrow = this.#http2Clients.of(taken.sandboxId) >= WITH_WIDE_WINDOWS
    client.once('close', this.#http2Clients.add(taken.sandboxId))
    relayHttp2({
      ...this.#common(taken),
      client,
      ...(isNarrow && { windowBytes: NARROW_WINDOW_BYTES }),
      open: () => {
        const failed = failure
        failure = undefined
        return failed ? Promise.reject(failed) : this.#http2Upstreams.open(to)
      },
    })
  }

  #common({ sandboxId, server }: Taken): Relaying {
    const { vaults, onExchange, stalls, log } = this.#options
    return {
      server,
      vault: () => vaults.vaultOf(sandboxId),
      holdBody: () =>
        this.#heldBodies.of(sandboxId) < this.#maxHeldBodies ? this.#heldBodies.add(sandboxId) : undefined,
      onExchange: (exchange) => onExchange(sandboxId, exchange),
      onFault: (error) => log.error('cannot connect to a server', { sandbox: sandboxId, error }),
      secrets: this.#secrets,
      stalls,
    }
  }
}

function upstreamOf({ sandboxId, server, address }: Taken): Upstream {
  return { ...server, sandboxId, address }
}

/** Whether the handshake came to its end in time. */
async function secured(client: TLSSocket, withinMs: number): Promise<boolean> {
  const timer = setTimeout(() => client.destroy(), withinMs)
  await new Promise<void>((resolve) => client.once('secure', resolve).once('close', () => resolve()))
  clearTimeout(timer)
  return !client.destroyed
}

function reset(socket: Socket): void {
  if (!socket.destroyed) socket.resetAndDestroy()
}
