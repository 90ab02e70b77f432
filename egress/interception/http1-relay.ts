// One connection of a client that speaks HTTP/1, request after request. Each is read to the end of its head, judged, and sent on with what
// it gets; bodies pass as they come, in both directions, no faster than the slower side takes them.

import type { Socket } from 'node:net'
import type { Injection } from '../vault/port.ts'
import { substituteBody } from '../vault/substitute.ts'
import { type Relaying, Tally } from './exchange.ts'
import { forwardedResponseFields, forwardedTrailers, redact, redactedTrailers } from './fields.ts'
import { formatRefusal, planAnswer } from './http1-answer.ts'
import { Body } from './http1-body.ts'
import {
  formatRequestHead,
  formatResponseHead,
  HEAD_END,
  MAX_HEAD_BYTES,
  membersOf,
  parseRequestHead,
  parseResponseHead,
  type RequestHead,
  type ResponseHead,
  valuesOf,
} from './http1-head.ts'
import { planRequest } from './http1-request.ts'
import { type Refusal, TOO_MANY_HELD } from './judge-request.ts'
import { UpstreamError } from './upstreams.ts'

export type Http1RelayOptions = Relaying & {
  client: Socket
  /** A connection on which nothing is under way; `isFresh` asks for a new one. Rejects with an UpstreamError. */
  open: (isFresh: boolean) => Socket | Promise<Socket>
  /** Takes a connection back that may be used again. */
  keep: (upstream: Socket) => void
  /** Ends the client's connection so that it can tell that something is missing. */
  reset: () => void
}

/** A request that is under way. */
type Current = {
  tally: Tally
  head: RequestHead
  injection: Injection | undefined
  body: Body
  /** What there is of a body that is sent when it is whole, as texts in it are replaced. */
  held: Buffer[] | undefined
  letGo: (() => void) | undefined
  isUpgrade: boolean
  /** It can be sent again when a connection turns out to be closed. */
  isRepeatable: boolean
  isSent: boolean
  wantsClose: boolean
  answer: Body | undefined
  /** Whether the server's connection is good for another request after it. */
  isReusable: boolean
}

const EMPTY = Buffer.alloc(0)
/** A head in more pieces than this is sent by nobody in earnest, and each costs a look at all of them. */
const MAX_PIECES = 512
/** How long what a client goes on sending is read and dropped, so that it reads the answer before it hears of the end. */
const LINGER_MS = 3000

export class Http1Relay {
  readonly #options: Http1RelayOptions
  readonly #client: Socket
  /** What the client has sent and nobody has read yet. */
  #rest: Buffer = EMPTY
  #pieces = 0
  #current: Current | undefined
  #upstream: Socket | undefined
  /** Whether a request was answered on it before. */
  #isUsed = false
  /** The beginning of an answer's head. */
  #answerHead: Buffer = EMPTY
  #isTunnel = false
  #isClosing = false
  #hasEnded = false
  readonly #detach = new WeakMap<Socket, () => void>()

  constructor(options: Http1RelayOptions) {
    this.#options = options
    this.#client = options.client
  }

  begin(): void {
    this.#client
      .on('data', (chunk: Buffer) => this.#fromClient(chunk))
      .on('drain', () => this.#upstream?.resume())
      .on('end', () => this.#clientEnded())
      .on('close', () => this.#clientGone())
    this.#client.resume()
  }

  #fromClient(chunk: Buffer): void {
    if (this.#isTunnel) {
      if (this.#current) this.#current.tally.bytesSent += chunk.length
      if (this.#upstream && !this.#upstream.write(chunk)) this.#client.pause()
      return
    }
    if (this.#isClosing) return
    const { isSent, held } = this.#current ?? {}
    const left = (isSent || held) && this.#rest.length === 0 ? this.#feed(chunk) : chunk
    if (left.length === 0) return
    this.#rest = this.#rest.length === 0 ? left : Buffer.concat([this.#rest, left])
    this.#pieces++
    if (!this.#current) this.#next()
    if (this.#current && this.#rest.length > MAX_HEAD_BYTES) this.#client.pause()
  }

  /** Begins with the next request, when its head is there. */
  #next(): void {
    const end = this.#rest.indexOf(HEAD_END)
    if (end < 0) {
      if (this.#hasEnded) this.#close()
      else if (this.#rest.length > MAX_HEAD_BYTES || this.#pieces > MAX_PIECES)
        this.#refuse({ status: 431, text: 'the head of the request is too long, or in too many pieces' })
      else this.#client.resume()
      return
    }
    this.#pieces = 0
    const text = this.#rest.toString('latin1', 0, end + HEAD_END.length)
    this.#rest = this.#rest.subarray(end + HEAD_END.length)
    const refusal = this.#begin(text)
    if (refusal) this.#refuse(refusal)
  }

  #begin(text: string): Refusal | undefined {
    const { server, vault, open } = this.#options
    const came = parseRequestHead(text)
    if ('problem' in came) return { status: 400, text: came.problem }
    const tally = new Tally(server, came)
    const current: Current = {
      tally,
      head: came,
      injection: undefined,
      body: new Body({ by: 'nothing' }, () => ''),
      held: undefined,
      letGo: undefined,
      isUpgrade: false,
      isRepeatable: false,
      isSent: false,
      wantsClose: came.minor === 0 || membersOf(came.fields, 'connection').includes('close'),
      answer: undefined,
      isReusable: false,
    }
    this.#current = current
    const plan = planRequest(came, server, vault())
    if ('refusal' in plan) {
      tally.binding = plan.binding
      return plan.refusal
    }
    const { head, injection, isUpgrade, isRepeatable } = plan
    tally.injection = injection
    const body = new Body(plan.framing, (lines) => forwardedTrailers(lines, injection))
    Object.assign(current, { head, injection, body, isUpgrade, isRepeatable })
    if (plan.holdsBody) {
      current.letGo = this.#options.holdBody()
      if (!current.letGo) return TOO_MANY_HELD
      current.held = []
      if (valuesOf(came.fields, 'expect').length > 0) this.#client.write('HTTP/1.1 100 Continue\r\n\r\n')
    }
    if (current.held) this.#feedRest()
    else if (this.#upstream) this.#send()
    else this.#connect(open(!current.isRepeatable))
    return undefined
  }

  #connect(opening: Socket | Promise<Socket>): void {
    if (!(opening instanceof Promise)) {
      this.#attach(opening, true)
      this.#send()
      return
    }
    opening.then(
      (socket) => {
        if (this.#isClosing || this.#client.destroyed) {
          socket.destroy()
          return
        }
        this.#attach(socket, false)
        this.#send()
      },
      (error: unknown) => {
        if (!(error instanceof UpstreamError)) throw error
        if (!this.#client.destroyed) this.#refuse({ status: error.status, text: error.message })
      },
    )
  }

  #send(): void {
    const current = this.#current
    if (!current || !this.#upstream) return
    const bytes = formatRequestHead(current.head)
    current.isSent = true
    current.tally.bytesSent += bytes.length
    this.#upstream.cork()
    this.#upstream.write(bytes, 'latin1')
    if (current.held) {
      for (const part of current.held) this.#upstream.write(part)
      current.held = undefined
      current.letGo?.()
    }
    this.#feedRest()
    this.#upstream?.uncork()
  }

  #feedRest(): void {
    const rest = this.#rest
    this.#rest = EMPTY
    this.#pieces = 0
    const left = this.#feed(rest)
    this.#rest = left
    if (this.#current && left.length <= MAX_HEAD_BYTES && !this.#upstream?.writableNeedDrain)
      this.#client.resume()
  }

  /** Sends on what belongs to the body of the request; gives the rest. */
  #feed(bytes: Buffer): Buffer {
    const current = this.#current
    if (!current || current.body.isDone) return bytes
    const { pass, used, problem } = current.body.take(bytes)
    for (const part of pass) {
      if (current.held) current.held.push(part)
      else {
        current.tally.bytesSent += part.length
        if (this.#upstream && !this.#upstream.write(part)) this.#client.pause()
      }
    }
    if (problem !== undefined) {
      if (current.answer) this.#abort(problem)
      else this.#refuse({ status: 400, text: problem })
      return EMPTY
    }
    if (current.body.isDone) {
      if (current.held) this.#sendHeld(current, current.held)
      else this.#settle(current)
    }
    return bytes.subarray(used)
  }

  #sendHeld(current: Current, held: Buffer[]): void {
    const { head, injection } = current
    const [contentType] = valuesOf(head.fields, 'content-type')
    const body = substituteBody(Buffer.concat(held), injection?.substitutions ?? [], contentType)
    head.fields = [
      ...head.fields.filter(({ name }) => name.toLowerCase() !== 'content-length'),
      { name: 'Content-Length', value: String(body.length) },
    ]
    current.held = [body]
    current.tally.bytesSent += body.length
    if (this.#upstream) this.#send()
    else this.#connect(this.#options.open(true))
  }

  #attach(socket: Socket, isUsed: boolean): void {
    this.#upstream = socket
    this.#isUsed = isUsed
    const data = (chunk: Buffer) => this.#fromUpstream(socket, chunk)
    const drain = () => {
      if (this.#rest.length <= MAX_HEAD_BYTES) this.#client.resume()
    }
    const end = () => this.#upstreamGone(socket, true)
    const close = () => this.#upstreamGone(socket, false)
    socket.on('data', data).on('drain', drain).on('end', end).on('close', close)
    this.#detach.set(socket, () =>
      socket.off('data', data).off('drain', drain).off('end', end).off('close', close),
    )
    socket.resume()
  }

  /** Gives the server's connection away. */
  #release(isReusable: boolean): void {
    const upstream = this.#upstream
    if (!upstream) return
    this.#upstream = undefined
    this.#detach.get(upstream)?.()
    if (isReusable && this.#answerHead.length === 0) this.#options.keep(upstream)
    else upstream.destroy()
    this.#answerHead = EMPTY
  }

  #fromUpstream(upstream: Socket, chunk: Buffer): void {
    const current = this.#current
    if (!current?.isSent || (current.answer?.isDone && !this.#isTunnel)) {
      // Nothing was asked: it would be taken for the answer to the next request.
      if (current) current.isReusable = false
      this.#upstreamGone(upstream, false)
      return
    }
    current.tally.bytesReceived += chunk.length
    if (this.#isTunnel) this.#client.write(chunk)
    else {
      this.#client.cork()
      this.#answer(current, chunk)
      this.#client.uncork()
    }
    if (this.#client.writableNeedDrain) this.#upstream?.pause()
  }

  #answer(current: Current, chunk: Buffer): void {
    let bytes = chunk
    while (!current.answer && !this.#isTunnel) {
      const all = this.#answerHead.length === 0 ? bytes : Buffer.concat([this.#answerHead, bytes])
      const end = all.indexOf(HEAD_END)
      if (end < 0) {
        this.#answerHead = all
        if (all.length > MAX_HEAD_BYTES) this.#fail('the head of its answer is too long')
        return
      }
      this.#answerHead = EMPTY
      bytes = all.subarray(end + HEAD_END.length)
      const head = parseResponseHead(all.toString('latin1', 0, end + HEAD_END.length))
      const problem = 'problem' in head ? head.problem : this.#answerHeadCame(current, head)
      if (problem !== undefined) {
        this.#fail(problem)
        return
      }
      if (bytes.length === 0 && !isAnswered(current)) return
    }
    if (this.#isTunnel) {
      if (bytes.length > 0) this.#client.write(bytes)
      return
    }
    const { answer } = current
    if (!answer) return
    if (!answer.isDone) {
      const { pass, used, problem } = answer.take(bytes)
      for (const part of pass) this.#client.write(part)
      if (problem !== undefined) {
        this.#fail(problem)
        return
      }
      bytes = bytes.subarray(used)
    }
    if (!answer.isDone) return
    if (bytes.length > 0) current.isReusable = false
    this.#settle(current)
  }

  #answerHeadCame(current: Current, head: ResponseHead): string | undefined {
    const { injection, isUpgrade, tally } = current
    const plan = planAnswer(head, { ...current.head, isUpgrade })
    if ('problem' in plan) return plan.problem
    if (plan.is === 'interim') return plan.isTold ? this.#tellHead(head, injection) : undefined
    tally.status = head.status
    if (plan.is === 'switch') {
      const problem = this.#tellHead(head, injection, 'Upgrade')
      if (problem !== undefined) return problem
      this.#isTunnel = true
      const rest = this.#rest
      this.#rest = EMPTY
      if (rest.length > 0) this.#fromClient(rest)
      this.#client.resume()
      return undefined
    }
    current.isReusable = plan.isReusable
    if (plan.framing.by === 'end') current.wantsClose = true
    current.answer = new Body(plan.framing, (lines) => redactedTrailers(lines, injection))
    return this.#tellHead(head, injection, current.wantsClose ? 'close' : undefined)
  }

  #tellHead(
    head: ResponseHead,
    injection: Injection | undefined,
    connection?: 'close' | 'Upgrade',
  ): string | undefined {
    const fields = forwardedResponseFields(head.fields, { injection, ...(connection && { connection }) })
    if ('problem' in fields) return fields.problem
    const reason = redact(head.reason, injection)
    this.#client.write(formatResponseHead({ ...head, reason, fields }), 'latin1')
    return undefined
  }

  /** Goes on to the next request when this one and its answer are over. */
  #settle(current: Current): void {
    if (this.#current !== current || !current.answer?.isDone) return
    if (!current.body.isDone) {
      // A server that has heard enough: it may still read on, or close.
      if (!current.isReusable) this.#close()
      return
    }
    this.#tell(current)
    this.#current = undefined
    this.#isUsed = true
    if (!current.isReusable) this.#release(false)
    if (current.wantsClose) this.#close()
    else this.#next()
  }

  #tell({ tally, letGo }: Current): void {
    letGo?.()
    this.#options.onExchange(tally.sum())
  }

  #upstreamGone(upstream: Socket, isClean: boolean): void {
    if (this.#upstream !== upstream) return
    const current = this.#current
    if (this.#isTunnel) {
      // What it had said arrives; without a proper end the client must see that there is none.
      if (!isClean && !upstream.readableEnded) this.#options.reset()
      else this.#client.end()
      return
    }
    const wasUsed = this.#isUsed
    const isUnheard = this.#answerHead.length === 0
    this.#release(false)
    if (!current?.isSent) return
    const { answer } = current
    if (answer) {
      if (answer.isDone || (answer.isOpenEnded && isClean)) this.#close()
      else this.#abort('its server broke off')
    } else if (isUnheard && wasUsed && current.isRepeatable) {
      current.isSent = false
      this.#connect(this.#options.open(true))
    } else if (wasUsed) this.#abort('its server closed the connection')
    else this.#fail('it closed the connection without an answer')
  }

  /** The server has done what it must not: told to the client if nothing else was. */
  #fail(problem: string): void {
    if (this.#current?.answer || this.#isTunnel) this.#abort(problem)
    else
      this.#refuse({
        status: 502,
        text: `the server ${this.#options.server.host} cannot be used: ${problem}`,
      })
  }

  /** An answer of our own, and the end. */
  #refuse(refusal: Refusal): void {
    const current = this.#current
    const { server } = this.#options
    const tally = current?.tally ?? new Tally(server, { method: '', target: '' })
    tally.status = refusal.status
    tally.refusal = refusal.text
    current?.letGo?.()
    this.#options.onExchange(tally.sum())
    this.#current = undefined
    this.#client.write(formatRefusal(refusal, current?.head.method))
    this.#release(false)
    this.#close()
  }

  /** Ends the connection once what was written has gone out. */
  #close(): void {
    if (this.#isClosing) return
    this.#isClosing = true
    const current = this.#current
    if (current) this.#tell(current)
    this.#current = undefined
    this.#rest = EMPTY
    this.#release(current === undefined)
    this.#client.end()
    this.#client.resume()
    this.#client.setTimeout(LINGER_MS, () => this.#client.destroy())
  }

  #abort(problem: string): void {
    if (this.#current) this.#current.tally.refusal = problem
    this.#options.reset()
  }

  #clientEnded(): void {
    this.#hasEnded = true
    const current = this.#current
    if (this.#isTunnel) this.#upstream?.end()
    else if (!current) this.#close()
    else if (!current.body.isDone) this.#options.reset()
    else current.wantsClose = true
  }

  #clientGone(): void {
    const current = this.#current
    this.#isClosing = true
    this.#current = undefined
    if (current) this.#tell(current)
    this.#release(current === undefined)
  }
}

function isAnswered({ answer }: Current): boolean {
  return answer?.isDone ?? false
}
