// What is decided of a request, and what a connection needs from the gateway that it belongs to.

import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Share } from '../../lib/api/routes-feed.ts'
import type { Client, Origin } from '../../lib/hops.ts'
import type { RequestHead } from '../http1/head.ts'
import type { Outcome } from '../observe/outcome.ts'
import type { ClientConnection } from '../relay/connection.ts'
import type { UpstreamPool } from '../relay/pool.ts'
import type { Plan } from './plan.ts'
import type { Refusal } from './refusal.ts'

/** What is to be done with a request. */
export type Verdict =
  | { kind: 'forward'; plan: Plan }
  | { kind: 'refuse'; refusal: Refusal }
  /** An answer of the gateway's own: its head without the empty line, and its body. */
  | { kind: 'answer'; status: number; head: string; body?: string }
  /** Not known yet; `cancel` when nobody waits any more. */
  | { kind: 'wait'; verdict: Promise<Verdict>; cancel: () => void }

/** A link, and the sandbox that it is of. */
export type SharedBy = { sandboxId: string; share: Share }

/** What a connection needs from the gateway that it belongs to. */
export type ConnectionContext = {
  readonly now: number
  readonly isStopping: boolean
  readonly pool: UpstreamPool
  readonly headTimeoutMs: number
  readonly idleTimeoutMs: number
  decide(head: RequestHead, client: Client): Verdict
  /** Who asks, of a request that a trusted hop has passed on. */
  readClient(head: RequestHead, origin: Origin): Client
  /** Takes over a connection that begins as one of HTTP/2. */
  serveHttp2(socket: ClientSocket, origin: Origin): void
  report(outcome: Outcome): void
  createRequestId(): string
  onClosed(connection: ClientConnection): void
}

/** A client's connection, or a stream within one. */
export type ClientSocket = Duplex &
  Pick<Socket, 'destroySoon'> & {
    resetAndDestroy(): unknown
    setTimeout(ms: number, onTimeout: () => void): unknown
  }
