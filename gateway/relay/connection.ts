// One client connection: heads are read one after the other, each request is decided and answered before the next, however
// many have been sent ahead. It owns the client's socket and nothing else; what happens with a request is decided in
// decide.ts and done in forward.ts.

import type { LiveConnection } from '../../lib/api/gateway-admin.ts'
import { type Client, clientOf, type Origin } from '../../lib/hops.ts'
import { isEmpty } from '../../lib/http1/framing.ts'
import { formatRefusal, REFUSED, type Refusal, wantsPage } from '../decision/refusal.ts'
import type { ClientSocket, ConnectionContext, SharedBy, Verdict } from '../decision/verdict.ts'
import type { RequestHead, ResponseHead } from '../http1/head.ts'
import { readNextHead } from '../http1/next-head.ts'
import { loggedPath } from '../observe/logged.ts'
import { ByteMeter } from './byte-meter.ts'
import { Exchange, type ExchangeOwner, STALL_TIMEOUT_MS } from './forward.ts'
import { formatUpgradeHead } from './headers.ts'
import { splice } from './upgrade.ts'
import type { Upstream } from './upstream.ts'

const LINGER_MS = 2000
/** What a client has sent ahead while an earlier request is under way. */
const MAX_AHEAD_BYTES = 64 * 1024

export class ClientConnection implements ExchangeOwner {
  readonly socket: ClientSocket
  readonly meter = new ByteMeter()
  readonly #origin: Origin
  /** Who has made the request; of a trusted hop each may be another's. */
  #asking: Client
  readonly #context: ConnectionContext
  #state: 'head' | 'waiting' | 'exchange' | 'lingering' | 'spliced' | 'closed' = 'head'
  #pending: Buffer | undefined
  #scanned = 0
  #head: RequestHead | undefined
  #exchange: Exchange | undefined
  /** What is told of this request's exchange, also when it is over. */
  #last: Pick<Exchange, 'plan' | 'legsSince'> | undefined
  #cancelWait: (() => void) | undefined
  #startedAt = 0
  #deadline: number
  #isAdvancing = false
  #isFirst = true
  /** The sandbox whose traffic passes here, when control wants to hear of it. */
  #trafficOf: string | undefined
  /** By whose leave it is reached, when that can end before the connection does. */
  #sharedBy: SharedBy | undefined
  #isHeld = false
  readonly #onData = (chunk: Buffer) => this.#receive(chunk)
  readonly #onEnd = () => this.#onClientEnd()
  readonly #onDrain = () => {
    this.#exchange?.onClientDrain()
    this.#advance()
  }

  constructor(socket: ClientSocket, origin: Origin, context: ConnectionContext) {
    this.socket = socket
    this.#origin = origin
    this.#asking = clientOf(origin)
    this.#context = context
    this.#deadline = context.now + context.idleTimeoutMs
    socket
      .on('data', this.#onData)
      .on('end', this.#onEnd)
      .on('drain', this.#onDrain)
      // The close that follows does what is to be done.
      .on('error', () => {})
      .on('close', () => this.#onClose())
  }

  get now(): number {
    return this.#context.now
  }

  get client(): string {
    return this.#asking.address
  }

  get isStopping(): boolean {
    return this.#context.isStopping
  }

  get isIdle(): boolean {
    return this.#state === 'head' && this.#pending === undefined
  }

  get deadline(): number {
    return this.#deadline
  }

  setDeadline(ms: number): void {
    this.#deadline = ms === 0 ? 0 : this.#context.now + ms
  }

  pauseReading(): void {
    if (this.#isHeld) return
    this.#isHeld = true
    this.socket.pause()
  }

  resumeReading(): void {
    if (!this.#isHeld) return
    if (this.#state !== 'head' && (this.#pending?.length ?? 0) > MAX_AHEAD_BYTES) return
    this.#isHeld = false
    this.socket.resume()
  }

  /** The deadline has passed. */
  expire(): void {
    this.#deadline = 0
    if (this.#state === 'exchange') this.#exchange?.onDeadline()
    else if (this.#state === 'head' && this.#pending !== undefined)
      this.#refuse(REFUSED.bad(408, 'its head did not come in time'), true)
    else this.socket.destroy()
  }

  /** The sandbox that something has passed for since the last call, when control wants to hear of it. */
  takeTraffic(): string | undefined {
    return this.#trafficOf !== undefined && this.meter.hasMoved() ? this.#trafficOf : undefined
  }

  /** What is under way to a sandbox. */
  describe(): LiveConnection | undefined {
    const plan = this.#last?.plan
    const head = this.#head
    if (!plan || !head || plan.target.group === '' || this.#state === 'lingering') return undefined
    return {
      sandboxId: plan.target.group,
      port: plan.port,
      client: this.#asking.address,
      kind: this.#state === 'spliced' ? 'stream' : 'request',
      method: head.method,
      path: loggedPath(head.target),
      ageMs: Math.round(performance.now() - this.#startedAt),
      bytesIn: this.meter.bytesIn,
      bytesOut: this.meter.bytesOut,
      ...(plan.share && { share: plan.share.id }),
    }
  }

  /** Whether it is between requests, has one, or is a tunnel. */
  get activity(): 'idle' | 'request' | 'stream' {
    if (this.#state === 'spliced') return 'stream'
    return this.#state === 'exchange' || this.#state === 'waiting' ? 'request' : 'idle'
  }

  /** The link by which what is under way is reached. */
  get sharedBy(): SharedBy | undefined {
    return this.#sharedBy
  }

  /** Closes at once what is idle; what is under way goes on. */
  stop(): void {
    if (!this.isIdle) return
    if (this.socket.writableLength > 0) this.#linger()
    else this.socket.destroy()
  }

  onAnswered({ status, reusable }: { status: number; reusable: boolean }): void {
    this.#report(status)
    this.#exchange = undefined
    if (reusable && !this.#context.isStopping) this.#next()
    else this.#linger()
  }

  onRefused(refusal: Refusal): void {
    const isComplete = this.#exchange?.requestDone === true
    this.#exchange = undefined
    this.#refuse(refusal, !isComplete)
  }

  onBroken({ status, reason, untold }: { status: number; reason: string; untold: boolean }): void {
    this.#report(status, reason)
    this.#exchange = undefined
    // In TLS an end without its farewell tells as much as a reset.
    if (untold && !('encrypted' in this.socket)) this.socket.resetAndDestroy()
    else this.socket.destroy()
  }

  onUpgraded({ head, upstream, first }: { head: ResponseHead; upstream: Upstream; first: Buffer }): void {
    const { socket } = this
    this.#exchange = undefined
    this.#state = 'spliced'
    this.#deadline = 0
    socket.off('data', this.#onData).off('end', this.#onEnd).off('drain', this.#onDrain)
    this.#write(formatUpgradeHead(head, this.#last?.plan.location?.prefix))
    if (first.length > 0) {
      this.meter.bytesOut += first.length
      socket.write(first)
    }
    const ahead = this.#pending
    this.#pending = undefined
    if (ahead) upstream.socket.write(ahead)
    this.#forgetDetails()
    splice({ client: socket, upstream, meter: this.meter, onClosed: () => this.#report(101) })
    this.#isHeld = false
  }

  /** A tunnel may last for days: what is kept of its request is what is told of it. */
  #forgetDetails(): void {
    const { plan } = this.#last ?? {}
    if (!plan || !this.#head) return
    const legs = this.#last?.legsSince(this.#startedAt) ?? NO_LEGS
    this.#last = { plan: { ...plan, requestHead: '' }, legsSince: () => legs }
    this.#head = { ...this.#head, fields: [] }
  }

  #write(text: string): void {
    this.meter.bytesOut += text.length
    this.socket.write(text, 'latin1')
  }

  #receive(chunk: Buffer): void {
    this.meter.bytesIn += chunk.length
    if (this.#state === 'lingering' || this.#state === 'closed') return
    const exchange = this.#exchange
    if (exchange && !exchange.requestDone) {
      const end = exchange.onRequestBytes(chunk)
      if (end < chunk.length) this.#keep(chunk.subarray(end))
      return
    }
    this.#keep(chunk)
    this.#advance()
  }

  #keep(chunk: Buffer): void {
    this.#pending = this.#pending ? Buffer.concat([this.#pending, chunk]) : chunk
    if (this.#state !== 'head' && this.#pending.length > MAX_AHEAD_BYTES) this.pauseReading()
  }

  /** Reads heads for as long as each is answered at once. */
  #advance(): void {
    if (this.#isAdvancing) return
    this.#isAdvancing = true
    // Who sends requests without reading the answers is not read from either.
    while (this.#state === 'head' && this.#pending !== undefined) {
      if (this.socket.writableNeedDrain) {
        this.pauseReading()
        break
      }
      if (!this.#readHead(this.#pending)) break
    }
    this.#isAdvancing = false
    if (this.#state === 'head' && !this.socket.writableNeedDrain) this.resumeReading()
  }

  /** Whether a head was read. */
  #readHead(bytes: Buffer): boolean {
    const next = readNextHead(bytes, this.#scanned)
    if (next.kind === 'none') {
      this.#pending = undefined
      return false
    }
    const isBegun = this.#startedAt !== 0
    if (!isBegun) this.#startedAt = performance.now()
    if (next.kind === 'unfinished') {
      if (!isBegun) this.setDeadline(this.#context.headTimeoutMs)
      this.#scanned = bytes.length
      return false
    }
    this.#scanned = 0
    if (next.kind === 'bad') {
      if (this.#isFirst && bytes.indexOf(HTTP2_PREFACE) === 0) this.#handOver(bytes)
      else this.#refuse(REFUSED.bad(next.status, next.problem), true)
      return true
    }
    const { head, end } = next
    this.#head = head
    this.#isFirst = false
    this.#deadline = 0
    this.#pending = end === bytes.length ? undefined : bytes.subarray(end)
    if (this.#origin.isTrusted) this.#asking = this.#context.readClient(head, this.#origin)
    this.#act(this.#context.decide(head, this.#asking), head)
    return true
  }

  /** A client of HTTP/2 that knows beforehand what is spoken here (RFC 9113 3.3). */
  #handOver(bytes: Buffer): void {
    const { socket } = this
    socket.off('data', this.#onData).off('end', this.#onEnd).off('drain', this.#onDrain)
    socket.pause()
    socket.unshift(bytes)
    this.#state = 'closed'
    this.#pending = undefined
    this.#deadline = 0
    this.#context.serveHttp2(socket, this.#origin)
  }

  #act(verdict: Verdict, head: RequestHead): void {
    switch (verdict.kind) {
      case 'forward': {
        const bytes = this.#pending ?? EMPTY
        this.#pending = undefined
        this.#state = 'exchange'
        this.#trafficOf = verdict.plan.trafficOf
        const { share, target } = verdict.plan
        this.#sharedBy = share && { sandboxId: target.group, share }
        const exchange = new Exchange(head, verdict.plan, this, this.#context.pool)
        this.#exchange = exchange
        this.#last = exchange
        // What was held back while the request waited is read now; the exchange holds it back again if it must.
        this.resumeReading()
        const end = exchange.start(bytes, 0)
        if (end < bytes.length && this.#isOpen()) this.#keep(bytes.subarray(end))
        return
      }
      case 'refuse':
        this.#refuse(verdict.refusal, !isEmpty(head.framing))
        return
      case 'answer': {
        const close = !isEmpty(head.framing) || !head.keepAlive || this.#context.isStopping
        const body = head.method === 'HEAD' ? '' : (verdict.body ?? '')
        this.#write(`${verdict.head}${close ? 'Connection: close\r\n' : ''}\r\n${body}`)
        this.#report(verdict.status)
        if (close) this.#linger()
        else this.#next()
        return
      }
      case 'wait': {
        this.#state = 'waiting'
        this.#cancelWait = verdict.cancel
        void verdict.verdict.then((decided) => {
          if (this.#state !== 'waiting') return
          this.#cancelWait = undefined
          this.#state = 'head'
          this.#act(decided, head)
          this.#advance()
        })
      }
    }
  }

  #isOpen(): boolean {
    return this.#state === 'head' || this.#state === 'exchange'
  }

  #next(): void {
    this.#state = 'head'
    this.#trafficOf = undefined
    this.#sharedBy = undefined
    this.#head = undefined
    this.#last = undefined
    this.#startedAt = 0
    // A slow client may still be taking the answer.
    this.setDeadline(this.socket.writableLength > 0 ? STALL_TIMEOUT_MS : this.#context.idleTimeoutMs)
    if (this.#pending !== undefined || this.#isHeld) this.#advance()
  }

  #refuse(refusal: Refusal, isUnread: boolean): void {
    const head = this.#head
    const close = isUnread || !head?.keepAlive || this.#context.isStopping
    const answer = formatRefusal(refusal, {
      wantsPage: head !== undefined && wantsPage(head),
      isHead: head?.method === 'HEAD',
      close,
      requestId: this.#context.createRequestId(),
      now: new Date(),
    })
    this.meter.bytesOut += answer.length
    this.socket.write(answer)
    this.#report(refusal.status, refusal.message, refusal.retryAfter !== undefined)
    if (close) this.#linger()
    else this.#next()
  }

  // Closing a socket that still receives makes the other side lose what it has not read yet, so the last of the answer is
  // sent first, however slow the client takes it, and what comes is thrown away for a moment.
  #linger(): void {
    this.#state = 'lingering'
    this.#pending = undefined
    this.setDeadline(STALL_TIMEOUT_MS)
    this.socket.end(() => this.setDeadline(LINGER_MS))
    this.#isHeld = false
    this.socket.resume()
  }

  #onClientEnd(): void {
    const { socket } = this
    if (this.#state === 'head' && this.#pending === undefined) socket.end()
    else if (this.#state === 'exchange' || this.#state === 'waiting') {
      // Half closed or gone looks the same; who closes without having read the answer has left.
      this.#leave()
    }
    socket.destroySoon()
  }

  #leave(): void {
    this.#report(499, 'the client has left')
    this.#exchange?.abandon()
    this.#exchange = undefined
    this.#cancelWait?.()
    this.#cancelWait = undefined
    this.#state = 'closed'
  }

  #onClose(): void {
    if (this.#state === 'exchange' || this.#state === 'waiting') this.#leave()
    this.#state = 'closed'
    this.#pending = undefined
    this.#context.onClosed(this)
  }

  #report(status: number, reason?: string, isPassing = false): void {
    this.#context.report({
      head: this.#head,
      plan: this.#last?.plan,
      client: this.#asking.address,
      ...(this.#origin.isHttp2 && { isHttp2: true as const }),
      status,
      ms: this.#startedAt === 0 ? 0 : performance.now() - this.#startedAt,
      legs: this.#last?.legsSince(this.#startedAt) ?? NO_LEGS,
      ...this.meter.take(),
      ...(reason !== undefined && { reason }),
      ...(isPassing && { isPassing }),
    })
  }
}

const EMPTY = Buffer.alloc(0)
const NO_LEGS = { waitMs: 0, connectMs: 0, firstByteMs: 0 }
const HTTP2_PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\n')
