// What is told of one request when it is over: who it was for, what it got and how it ended. Never a value, and no query, as both may hold
// secrets.

import type { Decided } from '../record.ts'
import type { StallWatch } from '../stall-watch.ts'
import type { Injection, VaultServer, VaultView } from '../vault/port.ts'
import type { SecretFinder } from './secret-finder.ts'

export type Exchange = {
  server: VaultServer
  method: string
  path: string
  /** Zero: there was no answer. */
  status: number
  /** Why we answered ourselves. */
  refusal?: string | undefined
  binding?: string | undefined
  revision?: number | undefined
  /** Names of the headers that were put in. */
  headers: string[]
  bytesSent: number
  bytesReceived: number
  durationMs: number
}

/** What relaying the requests of one connection takes, in whatever protocol. */
export type Relaying = {
  server: VaultServer
  /** Asked for at each request. */
  vault: () => VaultView | undefined
  /** Asked before a body is held until it is whole; what is returned is called when it no longer is. */
  holdBody: () => (() => void) | undefined
  onExchange: (exchange: Exchange) => void
  /** Hears of what should not happen. */
  onFault: (error: unknown) => void
  secrets: SecretFinder
  /** Finds out who takes nothing of what waits for it. */
  stalls: StallWatch
}

/** Counts one request while it is under way. */
export class Tally {
  readonly #server: VaultServer
  readonly #method: string
  readonly #path: string
  readonly #begunAt = performance.now()
  status = 0
  refusal: string | undefined
  binding: string | undefined
  injection: Injection | undefined
  bytesSent = 0
  bytesReceived = 0

  constructor(server: VaultServer, { method, target }: { method: string; target: string }) {
    this.#server = server
    this.#method = method
    const end = target.search(/[?#]/)
    this.#path = end < 0 ? target : target.slice(0, end)
  }

  sum(): Exchange {
    const { status, refusal, bytesSent, bytesReceived, injection } = this
    return {
      server: this.#server,
      method: this.#method,
      path: this.#path,
      status,
      refusal,
      binding: injection?.binding ?? this.binding,
      revision: injection?.revision,
      headers: injection?.headers.map(([name]) => name) ?? [],
      bytesSent,
      bytesReceived,
      durationMs: Math.round(performance.now() - this.#begunAt),
    }
  }
}

/** The same for the record of the sandbox. */
export function decidedOf(exchange: Exchange): Decided {
  const { server, method, path, status, refusal, binding, revision, headers } = exchange
  const got =
    binding === undefined
      ? 'no binding fits'
      : `binding ${JSON.stringify(binding)}${revision === undefined ? '' : `, revision ${revision}`}${headers.length > 0 ? `, sets ${headers.join(', ')}` : ''}`
  return {
    kind: 'request',
    verdict: refusal === undefined ? 'allow' : 'deny',
    reason: `${method} ${path.slice(0, 500)}: ${refusal ?? got}${status === 0 ? '' : ` (${status})`}`,
    name: server.host,
    protocol: server.scheme,
    port: server.port,
    bytesSent: exchange.bytesSent,
    bytesReceived: exchange.bytesReceived,
    durationMs: exchange.durationMs,
  }
}
