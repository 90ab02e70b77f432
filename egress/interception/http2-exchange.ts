// One request by HTTP/2 on its way, and its answer.

import type { Http2Connection, RequestListener } from '../http2/connection.ts'
import { CODE } from '../http2/frames.ts'
import type { RequestHead } from '../http2/head.ts'
import type { ReceivedField } from '../http2/hpack/decoder.ts'
import type { FieldToSend } from '../http2/hpack/encoder.ts'
import { PendingBytes } from '../http2/pending-bytes.ts'
import type { Http2Stream, StreamListener } from '../http2/stream.ts'
import { substituteBody } from '../vault/substitute.ts'
import { type Relaying, Tally } from './exchange.ts'
import { HeldBody } from './held-body.ts'
import { firstOf } from './http1-head.ts'
import { addRedacted, forwardedTrailers } from './http2-fields.ts'
import { type Http2RequestPlan, planHttp2Request } from './http2-request.ts'
import { HEAD_TOO_LONG, type Refusal, TAKEN_NOTHING, TOO_MANY_HELD } from './judge-request.ts'
import { refusalOf, UpstreamError } from './upstreams.ts'

export type Http2ExchangeOptions = Relaying & {
  open: () => Http2Connection | Promise<Http2Connection>
}

const EMPTY = Buffer.alloc(0)

type Held = { body: HeldBody; letGo: () => void; contentType: string | undefined }

export class Http2Exchange implements RequestListener {
  readonly #options: Http2ExchangeOptions
  #client: Http2Stream | undefined
  #upstream: Http2Stream | undefined
  #tally: Tally
  #plan: Http2RequestPlan | undefined
  #isWhole = false
  #isHead = false
  #held: Held | undefined
  /** What came of the body before there was somebody to give it to. */
  #early: PendingBytes | undefined
  #trailers: readonly FieldToSend[] | undefined
  #hasEnded = false
  #isAnswered = false
  #answerTrailers: readonly FieldToSend[] = []
  #isSecondTry = false

  constructor(options: Http2ExchangeOptions) {
    this.#options = options
    this.#tally = new Tally(options.server, { method: '', target: '' })
  }

  onRequest(stream: Http2Stream, head: RequestHead, isWhole: boolean): void {
    const { server, vault, holdBody } = this.#options
    this.#begin(stream, head)
    this.#isWhole = isWhole
    const plan = planHttp2Request(head, { isWhole, server, vault: vault() })
    if ('refusal' in plan) {
      this.#tally.binding = plan.binding
      this.#refuse(plan.refusal)
      return
    }
    this.#plan = plan
    this.#tally.injection = plan.injection
    if (!plan.holdsBody) {
      this.#open()
      return
    }
    const letGo = holdBody()
    if (!letGo) {
      this.#refuse(TOO_MANY_HELD)
      return
    }
    const contentType = firstOf(head.fields, 'content-type')
    this.#held = { body: new HeldBody(head.length ?? 0), letGo, contentType }
    if (plan.asksForContinue) stream.sendHead([{ name: ':status', value: '100' }], false)
  }

  onTooLong(stream: Http2Stream, head: RequestHead): void {
    this.#begin(stream, head)
    this.#refuse(HEAD_TOO_LONG)
  }

  onData(part: Buffer, isLast: boolean): void {
    if (this.#held) {
      this.#held.body.push(part)
      this.#client?.letGo(part.length)
    } else if (this.#upstream) this.#upstream.send(part, isLast)
    else if (!this.#isAnswered) {
      this.#early ??= new PendingBytes()
      this.#early.push(part)
    }
  }

  onTrailers(fields: readonly ReceivedField[]): void {
    this.#trailers = forwardedTrailers(fields, this.#plan?.injection)
  }

  onEnd(): void {
    this.#hasEnded = true
    if (this.#held) this.#open()
    else if (!this.#isWhole) this.#endRequest()
  }

  /** Of the answer. */
  onSent(bytes: number): void {
    this.#upstream?.letGo(bytes)
  }

  onClose(code: number): void {
    this.#held?.letGo()
    this.#held = undefined
    this.#early = undefined
    this.#upstream?.reset(code === CODE.none ? CODE.cancel : code)
    this.#upstream?.letGo(Number.POSITIVE_INFINITY)
    if (this.#client?.isGivenUp) this.#tally.refusal ??= TAKEN_NOTHING.byClient
    this.#options.onExchange(this.#tally.sum())
  }

  // Clients and servers say nothing of these two to each other.
  onInterim(): void {}
  onAnswer(): void {}

  #begin(stream: Http2Stream, { method, path }: RequestHead): void {
    this.#client = stream
    this.#isHead = method === 'HEAD'
    this.#tally = new Tally(this.#options.server, { method, target: path })
  }

  #open(): void {
    try {
      const opening = this.#options.open()
      if (opening instanceof Promise)
        opening
          .then((connection) => this.#forward(connection))
          .catch((error: unknown) => this.#cannotOpen(error))
      else this.#forward(opening)
    } catch (error) {
      this.#cannotOpen(error)
    }
  }

  #cannotOpen(error: unknown): void {
    if (!(error instanceof UpstreamError)) this.#options.onFault(error)
    this.#refuse(refusalOf(error, this.#options.server))
  }

  #forward(connection: Http2Connection): void {
    const client = this.#client
    const plan = this.#plan
    if (!client || client.isClosed || !plan) return
    if (!connection.isOpen && !this.#isSecondTry) {
      this.#isSecondTry = true
      this.#open()
      return
    }
    const held = this.#held
    const whole =
      held && substituteBody(held.body.takeAll(), plan.injection?.substitutions ?? [], held.contentType)
    const fields = whole ? withLength(plan.fields, whole.length) : plan.fields
    this.#upstream = connection.request(fields, {
      listener: this.#answers,
      isWhole: this.#isWhole,
      isHead: this.#isHead,
    })
    if (whole) {
      this.#tally.bytesSent += whole.length
      this.#upstream.send(whole, this.#trailers === undefined)
      if (this.#trailers) this.#upstream.sendTrailers(this.#trailers)
      held?.letGo()
      this.#held = undefined
      return
    }
    const early = this.#early
    this.#early = undefined
    while (early && early.length > 0) this.#upstream.send(early.take(early.length), false)
    if (this.#hasEnded && !this.#isWhole) this.#endRequest()
  }

  #endRequest(): void {
    if (this.#trailers) this.#upstream?.sendTrailers(this.#trailers)
    else this.#upstream?.send(EMPTY, true)
  }

  /** What the server says. */
  readonly #answers: StreamListener = {
    onInterim: (status, fields) => {
      if (!this.#isAnswered) this.#client?.sendHead(this.#answerHead(status, fields), false)
    },
    onAnswer: (status, fields, isWhole) => {
      this.#isAnswered = true
      this.#tally.status = status
      this.#client?.sendHead(this.#answerHead(status, fields), isWhole)
    },
    onData: (part, isLast) => {
      this.#tally.bytesReceived += part.length
      this.#client?.send(part, isLast)
    },
    onTrailers: (fields) => {
      this.#answerTrailers = this.#addRedacted([], fields)
    },
    onEnd: () => this.#client?.sendTrailers(this.#answerTrailers),
    onSent: (bytes) => {
      this.#tally.bytesSent += bytes
      this.#client?.letGo(bytes)
    },
    onClose: (code) => this.#upstreamClosed(code),
  }

  #answerHead(status: number, fields: readonly ReceivedField[]): FieldToSend[] {
    return this.#addRedacted([{ name: ':status', value: String(status) }], fields)
  }

  #addRedacted(forwarded: FieldToSend[], fields: readonly ReceivedField[]): FieldToSend[] {
    const { secrets } = this.#options
    return addRedacted(forwarded, fields, { injection: this.#plan?.injection, secrets })
  }

  #upstreamClosed(code: number): void {
    const client = this.#client
    const hasAnswered = this.#upstream?.hasRemoteEnded ?? false
    // What comes of the request from now on is for nobody.
    client?.letGo(Number.POSITIVE_INFINITY)
    if (!client || client.isClosed) return
    if (!this.#isAnswered) this.#notAnswered(code)
    // After its answer a server may say that it needs no more of the request.
    else if (code === CODE.none || hasAnswered) client.endEarly()
    else client.reset(code)
  }

  /** One that was never begun may be made again (RFC 9113 8.7): by us, if all of it is still there, or else by the client. */
  #notAnswered(code: number): void {
    if (code === CODE.refusedStream && !this.#isWhole) {
      this.#client?.reset(code)
      return
    }
    if (code === CODE.refusedStream && !this.#isSecondTry) {
      this.#isSecondTry = true
      this.#open()
      return
    }
    const { host } = this.#options.server
    this.#refuse(
      this.#upstream?.isGivenUp
        ? { status: 504, text: `the server ${host} ${TAKEN_NOTHING.byServer}` }
        : { status: 502, text: `the server ${host} broke off without an answer` },
    )
  }

  #refuse({ status, text }: Refusal): void {
    this.#tally.status = status
    this.#tally.refusal = text
    const client = this.#client
    if (!client || client.isClosed || this.#isAnswered) return
    this.#isAnswered = true
    const body = Buffer.from(`${text}\n`)
    client.sendHead(
      [
        { name: ':status', value: String(status) },
        { name: 'content-type', value: 'text/plain; charset=utf-8' },
        { name: 'content-length', value: String(body.length) },
      ],
      this.#isHead,
    )
    if (!this.#isHead) client.send(body, true)
    // What else the client sends of the request is of no use.
    client.endEarly()
  }
}

function withLength(fields: readonly FieldToSend[], length: number): FieldToSend[] {
  return fields.map((field) =>
    field.name === 'content-length' ? { ...field, value: String(length) } : field,
  )
}
