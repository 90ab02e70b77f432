// One request and its answer, relayed as bytes: the request's head is written anew and its body passes through, then the
// same for the answer. Each side is read only as fast as the other takes it. Both ends may vanish at any moment: what has
// not begun to be answered gets a refusal, what has is broken off, so that nobody takes half for all.

import type { Writable } from 'node:stream'
import { systemCodeOf } from '../../lib/errors.ts'
import type { ChunkMemory } from '../../lib/read-memory.ts'
import type { Plan } from '../decision/plan.ts'
import { REFUSED, type Refusal } from '../decision/refusal.ts'
import { type BodyReader, createBodyReader } from '../http1/body.ts'
import {
  findHeadEnd,
  MAX_HEAD_BYTES,
  parseResponseHead,
  type RequestHead,
  type ResponseHead,
} from '../http1/head.ts'
import type { Legs } from '../observe/outcome.ts'
import type { ByteMeter } from './byte-meter.ts'
import { UnsayableRequest } from './h2c-socket.ts'
import { formatInterimHead, formatResponseHead, isRepeatable, mayBeTrailer } from './headers.ts'
import type { UpstreamPool } from './pool.ts'
import type { Upstream, UpstreamUser } from './upstream.ts'

/** What an exchange asks of the connection that it belongs to. */
export type ExchangeOwner = {
  readonly socket: Writable
  readonly meter: ByteMeter
  /** The address of who has made the request. */
  readonly client: string
  /** The gateway's coarse clock. */
  readonly now: number
  readonly isStopping: boolean
  /** Ends the exchange after so many milliseconds, through `onDeadline`; 0 takes the deadline away. */
  setDeadline(ms: number): void
  pauseReading(): void
  resumeReading(): void
  /** The answer is complete; `reusable` says whether the client's connection can carry another request. */
  onAnswered(outcome: { status: number; reusable: boolean }): void
  /** Nothing has been answered yet. */
  onRefused(refusal: Refusal): void
  /** The answer cannot be completed. `untold` is set when only a reset can tell the client so. */
  onBroken(outcome: { status: number; reason: string; untold: boolean }): void
  onUpgraded(upgrade: { head: ResponseHead; upstream: Upstream; first: Buffer }): void
}

export const CONNECT_TIMEOUT_MS = 5000
export const FIRST_BYTE_TIMEOUT_MS = 10 * 60_000
/** How long a client may take nothing of an answer that waits for it. */
export const STALL_TIMEOUT_MS = 5 * 60_000
const MAX_INTERIM_HEADS = 32
/** Up to this size a head and the bytes behind it are copied into one write. */
const JOIN_BYTES = 16 * 1024

export class Exchange implements UpstreamUser {
  readonly head: RequestHead
  readonly plan: Plan
  readonly #owner: ExchangeOwner
  readonly #pool: UpstreamPool
  readonly #requestBody: BodyReader
  #upstream: Upstream | undefined
  #state: 'waiting' | 'streaming' | 'over' = 'waiting'
  #heard = false
  #retried = false
  #interims = 0
  #partial: Buffer | undefined
  #response: ResponseHead | undefined
  #responseBody: BodyReader | undefined
  #closes = false
  #isBlocked = false
  /** When it was begun, was connected, and began to be answered; 0 until then. */
  readonly #began = performance.now()
  #connectedAt = 0
  #answeredAt = 0
  readonly #passRequest = (bytes: Buffer) => {
    if (this.#upstream && !this.#upstream.socket.write(bytes)) this.#owner.pauseReading()
  }
  readonly #passResponse = (bytes: Buffer) => {
    this.#owner.meter.bytesOut += bytes.length
    if (!this.#owner.socket.write(bytes)) this.#block()
  }
  readonly #passLent = (bytes: Buffer) => {
    this.#owner.meter.bytesOut += bytes.length
    this.#owner.socket.write(bytes, this.#onWritten)
  }
  readonly #onWritten = () => {
    if (this.#owner.socket.writableLength === 0) this.onClientDrain()
  }

  constructor(head: RequestHead, plan: Plan, owner: ExchangeOwner, pool: UpstreamPool) {
    this.head = head
    this.plan = plan
    this.#owner = owner
    this.#pool = pool
    this.#requestBody = createBodyReader(head.framing, { keepTrailer: mayBeTrailer })
  }

  /** Whether the request's last byte has been read. */
  get requestDone(): boolean {
    return this.#requestBody.done
  }

  /** Sends the head, with the body's bytes that have already come, and returns where these end in `bytes`. */
  start(bytes: Buffer, at: number): number {
    const first: Buffer[] = []
    const end = this.#requestBody.done ? at : this.#requestBody.read(bytes, at, (part) => first.push(part))
    if (this.#requestBody.problem !== undefined) {
      this.#refuse(REFUSED.bad(400, this.#requestBody.problem))
      return end
    }
    const { target } = this.plan
    this.#attach(
      this.#pool.take(target, {
        repeatable: isRepeatable(this.head),
        now: this.#owner.now,
        client: this.#owner.client,
      }),
      first,
    )
    return end
  }

  /** More bytes from the client; returns where the request's body ends in them. */
  onRequestBytes(chunk: Buffer): number {
    if (this.#state === 'over') return chunk.length
    const end = this.#requestBody.read(chunk, 0, this.#passRequest)
    if (this.#requestBody.problem !== undefined) this.#failRequest(this.#requestBody.problem)
    else if (this.#state === 'waiting' && this.#upstream?.connected)
      this.#owner.setDeadline(FIRST_BYTE_TIMEOUT_MS)
    return end
  }

  /** Where the time went of a request that came at `startedAt`. */
  legsSince(startedAt: number): Legs {
    const connected = this.#connectedAt === 0 ? this.#began : this.#connectedAt
    return {
      waitMs: Math.max(0, this.#began - startedAt),
      connectMs: connected - this.#began,
      firstByteMs: this.#answeredAt === 0 ? 0 : this.#answeredAt - connected,
    }
  }

  onClientDrain(): void {
    if (!this.#isBlocked) return
    this.#isBlocked = false
    this.#owner.setDeadline(0)
    this.#upstream?.socket.resume()
  }

  /** The client has gone: nobody wants the answer any more. */
  abandon(): void {
    this.#end()
  }

  onDeadline(): void {
    if (this.#state === 'streaming') this.#break('the client took nothing of the answer for too long')
    else if (!this.#requestBody.done && this.#upstream?.connected)
      this.#refuse(REFUSED.bad(408, 'its body did not come in time'))
    else this.#refuse(this.#upstream?.connected ? REFUSED.answerTimeout() : REFUSED.connectTimeout())
  }

  onUpstreamConnect(): void {
    this.#connectedAt = performance.now()
    this.#owner.setDeadline(FIRST_BYTE_TIMEOUT_MS)
  }

  onUpstreamDrain(): void {
    this.#owner.resumeReading()
  }

  onUpstreamData(chunk: Buffer, memory: ChunkMemory): void {
    if (!this.#heard) this.#answeredAt = performance.now()
    this.#heard = true
    if (this.#state === 'streaming')
      this.#relay(memory === 'shared' ? Buffer.from(chunk) : chunk, memory === 'lent')
    else if (this.#state === 'waiting') this.#readHead(chunk)
  }

  onUpstreamEnd(): void {
    this.#onGone(undefined)
  }

  onUpstreamClose(error: Error | undefined): void {
    this.#onGone(error)
  }

  #attach(upstream: Upstream | undefined, first: Buffer[] = []): void {
    if (!upstream) {
      this.#refuse(REFUSED.busy())
      return
    }
    this.#upstream = upstream
    upstream.user = this
    this.#owner.setDeadline(upstream.connected ? FIRST_BYTE_TIMEOUT_MS : CONNECT_TIMEOUT_MS)
    if (!writeJoined(upstream.socket, this.plan.requestHead, first)) this.#owner.pauseReading()
  }

  /** What is kept of `chunk` is copied: a head mostly comes with the whole answer, of which nothing is. */
  #readHead(chunk: Buffer): void {
    const bytes = this.#partial ? Buffer.concat([this.#partial, chunk]) : chunk
    this.#partial = undefined
    let start = 0
    while (this.#state === 'waiting') {
      const end = findHeadEnd(bytes, start)
      if (end < 0) {
        const isHttp = 'HTTP/'.startsWith(bytes.toString('latin1', start, start + 5))
        if (!isHttp) this.#refuse(REFUSED.broken('it does not begin with HTTP/1.1'))
        else if (bytes.length - start > MAX_HEAD_BYTES) this.#refuse(REFUSED.broken('its head is too large'))
        else if (start < bytes.length) this.#partial = Buffer.from(bytes.subarray(start))
        return
      }
      const head = parseResponseHead(bytes.toString('latin1', start, end), this.head.method)
      if ('problem' in head) this.#refuse(REFUSED.broken(head.problem))
      else if (head.status >= 200) this.#begin(head, bytes, end)
      else if (head.status === 101) this.#switch(head, Buffer.from(bytes.subarray(end)))
      else if (++this.#interims > MAX_INTERIM_HEADS)
        this.#refuse(REFUSED.broken('too many interim answers came'))
      else if (this.head.minor === 1) this.#passInterim(formatInterimHead(head, this.plan.location?.prefix))
      start = end
      if (start === bytes.length) return
    }
  }

  #passInterim(text: string): void {
    this.#owner.meter.bytesOut += text.length
    this.#owner.socket.write(text, 'latin1')
  }

  #begin(head: ResponseHead, bytes: Buffer, at: number): void {
    const { minor, keepAlive } = this.head
    const decode = minor === 0 && head.framing.kind === 'chunked'
    const framing = decode ? ({ kind: 'close' } as const) : head.framing
    this.#closes = framing.kind === 'close'
    const close = this.#closes || !keepAlive || this.#owner.isStopping
    this.#state = 'streaming'
    this.#response = head
    const body = createBodyReader(head.framing, { decode, keepTrailer: mayBeTrailer })
    this.#responseBody = body
    const { location, extra } = this.plan
    const text = formatResponseHead(head, framing, { ...(location && { location }), extra, close, minor })
    const first: Buffer[] = []
    const end = body.done ? at : body.read(bytes, at, (part) => first.push(part))
    this.#owner.setDeadline(0)
    this.#owner.meter.bytesOut += text.length
    for (const part of first) this.#owner.meter.bytesOut += part.length
    if (!writeJoined(this.#owner.socket, text, first)) this.#block()
    this.#afterBody(body, end < bytes.length)
  }

  #relay(chunk: Buffer, isLent: boolean): void {
    const body = this.#responseBody
    if (!body) return
    const end = body.read(chunk, 0, isLent ? this.#passLent : this.#passResponse)
    // What is still being written must stay as it is.
    if (isLent && this.#owner.socket.writableLength > 0) this.#block()
    this.#afterBody(body, end < chunk.length)
  }

  #afterBody(body: BodyReader, isMore: boolean): void {
    if (body.problem !== undefined) this.#break(body.problem)
    else if (body.done) this.#complete(!isMore)
  }

  /** `isClean`: the answer's end was the last thing that came. */
  #complete(isClean: boolean): void {
    const response = this.#response
    const upstream = this.#upstream
    if (!response || this.#state === 'over') return
    this.#state = 'over'
    const requestDone = this.#requestBody.done
    if (upstream) {
      this.#upstream = undefined
      upstream.user = undefined
      if (isClean && requestDone && response.keepAlive && response.framing.kind !== 'close') {
        upstream.announcedMs = readAnnouncedMs(response)
        if (this.#isBlocked) upstream.socket.resume()
        this.#pool.release(upstream, this.#owner.now)
      } else upstream.socket.destroy()
    }
    this.#owner.onAnswered({
      status: response.status,
      reusable: requestDone && this.head.keepAlive && !this.#closes,
    })
  }

  #switch(head: ResponseHead, first: Buffer): void {
    const upstream = this.#upstream
    const wanted = this.head.upgrade?.toLowerCase().split(',')
    const given = head.upgrade?.trim().toLowerCase()
    if (!upstream || given === undefined || !wanted?.some((protocol) => protocol.trim() === given)) {
      this.#refuse(REFUSED.broken('it switches to a protocol that nobody asked for'))
      return
    }
    this.#state = 'over'
    this.#upstream = undefined
    this.#owner.onUpgraded({ head, upstream, first })
  }

  #onGone(error: Error | undefined): void {
    const upstream = this.#upstream
    if (!upstream || this.#state === 'over') return
    if (this.#state === 'streaming') {
      if (this.#response?.framing.kind === 'close' && error === undefined && upstream.socket.readableEnded)
        this.#complete(false)
      else this.#break('the answer ended before it was complete')
      return
    }
    if (upstream.reused && !this.#heard && !this.#retried && isRepeatable(this.head)) {
      this.#retried = true
      const fresh = this.#pool.replace(upstream)
      this.#detach()
      this.#attach(fresh)
      return
    }
    if (error instanceof UnsayableRequest) this.#refuse(REFUSED.bad(400, error.message))
    else this.#refuse(upstream.connected ? REFUSED.broken() : this.#refusalOfConnect(error))
  }

  #refusalOfConnect(error: Error | undefined): Refusal {
    const { port, target } = this.plan
    if (target.group === '') return REFUSED.noControl()
    const code = systemCodeOf(error)
    if (code === 'ETIMEDOUT') return REFUSED.connectTimeout()
    return code === 'ECONNREFUSED' ? REFUSED.closed({ port }) : REFUSED.unreachable()
  }

  #failRequest(problem: string): void {
    if (this.#state === 'waiting') this.#refuse(REFUSED.bad(400, problem))
    else this.#break(problem)
  }

  #refuse(refusal: Refusal): void {
    this.#end()
    this.#owner.onRefused(refusal)
  }

  #break(reason: string): void {
    const status = this.#response?.status ?? 0
    this.#end()
    this.#owner.onBroken({ status, reason, untold: this.#closes })
  }

  #end(): void {
    this.#state = 'over'
    this.#detach()
  }

  #detach(): void {
    const upstream = this.#upstream
    if (!upstream) return
    this.#upstream = undefined
    upstream.user = undefined
    upstream.socket.destroy()
  }

  #block(): void {
    if (this.#isBlocked || !this.#upstream) return
    this.#isBlocked = true
    this.#owner.setDeadline(STALL_TIMEOUT_MS)
    this.#upstream.socket.pause()
  }
}

/** Writes a head and what follows it, in one piece when that is small; the memory of `parts` is free afterwards. */
function writeJoined(socket: Writable, head: string, parts: Buffer[]): boolean {
  const [only] = parts
  if (only === undefined) return socket.write(head, 'latin1')
  if (parts.length === 1 && only.length <= JOIN_BYTES) {
    const joined = Buffer.allocUnsafe(head.length + only.length)
    joined.write(head, 0, 'latin1')
    only.copy(joined, head.length)
    return socket.write(joined)
  }
  socket.cork()
  let isOpen = socket.write(head, 'latin1')
  for (const part of parts) isOpen = socket.write(Buffer.from(part))
  socket.uncork()
  return isOpen
}

function readAnnouncedMs({ fields }: ResponseHead): number {
  const field = fields.find(({ key }) => key === 'keep-alive')
  const seconds = field && /(?:^|[\s,;])timeout=(\d{1,6})/i.exec(field.value)?.[1]
  return seconds === undefined ? 0 : Number(seconds) * 1000
}
