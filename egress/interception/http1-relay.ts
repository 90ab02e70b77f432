// One connection of a client that speaks HTTP/1, request after request. Each is read to the end of its head, judged, and sent on with what
// it gets; bodies pass as they come, in both directions, no faster than the slower side takes them.

import type { Socket } from 'node:net'
import { endAndLinger, type LingerLimits } from '../end-and-linger.ts'
import { type Relaying, Tally } from './exchange.ts'
import { HeadBuffer } from './head-buffer.ts'
import { HeadedWriter } from './headed-writer.ts'
import { formatRefusal } from './http1-answer.ts'
import { AnswerReader } from './http1-answer-reader.ts'
import { beginRequest, type Current, headToSend, makeWhole } from './http1-current.ts'
import type { Http1Link, LinkListener } from './http1-link.ts'
import { Http1ServerSide, type ServerConnections } from './http1-server-side.ts'
import { openTunnel } from './http1-tunnel.ts'
import { HEAD_TOO_LONG, type Refusal, TAKEN_NOTHING } from './judge-request.ts'
import { refusalOf, UpstreamError } from './upstreams.ts'

export type Http1RelayOptions = Relaying &
  ServerConnections & {
    client: Socket
    /** Ends the client's connection so that it can tell that something is missing. */
    reset: () => void
    /** How long a client may be without a request that has come as far as the end of its head. */
    requestMs?: number
    /** How long it may take to end. */
    linger?: LingerLimits
  }

/** As long as servers wait for the next request. */
const REQUEST_MS = 75_000
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'

export class Http1Relay {
  readonly #options: Http1RelayOptions
  readonly #client: Socket
  readonly #out: HeadedWriter
  /** What the client has sent and nobody has read yet. */
  readonly #rest = new HeadBuffer()
  readonly #patience: NodeJS.Timeout
  #current: Current | undefined
  readonly #server: Http1ServerSide
  #isClosing = false
  #hasEnded = false

  constructor(options: Http1RelayOptions) {
    const { client, requestMs = REQUEST_MS } = options
    this.#options = options
    this.#client = client
    this.#out = new HeadedWriter(client)
    const { open, keep, stalls } = options
    this.#server = new Http1ServerSide({
      ...{ open, keep, stalls },
      listener: this.#listener,
      isWanted: () => !this.#isClosing && !client.destroyed,
      onOpen: () => this.#send(),
      onFailure: (error) => this.#cannotOpen(error),
    })
    this.#patience = setTimeout(() => this.#waitedTooLong(requestMs), requestMs)
  }

  begin(): void {
    this.#client
      .on('data', this.#fromClient)
      .on('drain', this.#clientDrained)
      .on('end', this.#clientEnded)
      .on('close', () => this.#clientGone())
    this.#options.stalls.watchSocket(this.#client, () => this.#abort(TAKEN_NOTHING.byClient))
    this.#client.resume()
  }

  readonly #clientDrained = () => void this.#server.link?.socket.resume()

  readonly #fromClient = (chunk: Buffer): void => {
    const current = this.#current
    if (this.#isClosing) return
    const isTaken = current && this.#rest.isEmpty && (current.isSent || current.body.isHeld)
    const left = isTaken ? this.#feed(current, chunk) : chunk
    if (left.length === 0) return
    this.#rest.push(left)
    if (!this.#current) this.#next()
    if (this.#current && this.#rest.isFull) this.#client.pause()
  }

  /** Begins with the next request, when its head is there. */
  #next(): void {
    const text = this.#rest.takeHead()
    if (text !== undefined) this.#begin(text)
    else if (this.#hasEnded) this.#close()
    else if (this.#rest.isFull) this.#refuse(HEAD_TOO_LONG)
    else this.#client.resume()
  }

  #begin(text: string): void {
    const begun = beginRequest(text, this.#options)
    if ('refusal' in begun) {
      this.#refuse(begun.refusal, begun.asked)
      return
    }
    this.#current = begun
    if (begun.body.isHeld) {
      if (begun.came.expectsContinue) this.#client.write(CONTINUE)
      this.#feedRest()
    } else if (this.#server.link) this.#send()
    else this.#server.open(!begun.plan.isRepeatable)
  }

  #cannotOpen(error: unknown): void {
    if (!(error instanceof UpstreamError)) this.#options.onFault(error)
    if (!this.#isClosing && !this.#client.destroyed) this.#refuse(refusalOf(error, this.#options.server))
  }

  #send(): void {
    const current = this.#current
    const link = this.#server.link
    if (!current || !link) return
    const { asked, body, whole } = current
    const head = headToSend(current)
    current.isSent = true
    current.answer = new AnswerReader(asked, this.#out)
    asked.tally.bytesSent += head.length + (whole?.length ?? 0)
    link.out.addHead(head)
    if (whole) {
      link.out.write(whole)
      current.whole = undefined
      body.letGo()
    }
    this.#feedRest()
    this.#server.link?.out.flush()
  }

  #feedRest(): void {
    const current = this.#current
    if (current && !this.#rest.isEmpty) {
      const left = this.#feed(current, this.#rest.takeAll())
      if (left.length > 0) this.#rest.push(left)
    }
    if (this.#current && !this.#rest.isFull && !this.#server.link?.socket.writableNeedDrain)
      this.#client.resume()
  }

  /** Sends on what belongs to the body of the request; gives the rest. */
  #feed(current: Current, bytes: Buffer): Buffer {
    const { body, answer } = current
    if (body.isDone) return bytes
    const { rest, problem } = body.take(bytes, this.#passBody)
    if (problem !== undefined) {
      if (answer?.isBegun) this.#abort(problem)
      else this.#refuse({ status: 400, text: problem })
    } else if (body.isDone) {
      if (body.isHeld) this.#sendHeld(current)
      else this.#settle(current)
    }
    return rest
  }

  readonly #passBody = (part: Buffer): void => {
    if (this.#current) this.#current.asked.tally.bytesSent += part.length
    if (this.#server.link && !this.#server.link.out.write(part)) this.#client.pause()
  }

  #sendHeld(current: Current): void {
    makeWhole(current)
    if (this.#server.link) this.#send()
    else this.#server.open(true)
  }

  readonly #listener: LinkListener = {
    fromServer: (link, chunk) => this.#fromServer(link, chunk),
    serverDrained: () => {
      if (!this.#rest.isFull) this.#client.resume()
    },
    serverGone: (link, isClean) => this.#serverGone(link, isClean),
    serverStalled: () => {
      // Of a request that it has answered already.
      if (!this.#current) this.#server.release(false)
      else this.#fail(TAKEN_NOTHING.byServer, 504)
    },
  }

  #fromServer(link: Http1Link, chunk: Buffer): void {
    const current = this.#current
    const answer = current?.isSent ? current.answer : undefined
    if (!current || !answer || answer.isDone) {
      // Nothing was asked: it would be taken for the answer to the next request.
      this.#serverGone(link, false)
      return
    }
    current.asked.tally.bytesReceived += chunk.length
    const problem = answer.read(chunk)
    if (problem === undefined) {
      this.#out.flush()
      if (answer.isSwitched) this.#openTunnel(current, link)
      else this.#settle(current)
    } else this.#fail(problem)
    if (this.#client.writableNeedDrain) this.#server.link?.socket.pause()
  }

  #openTunnel({ asked: { tally } }: Current, link: Http1Link): void {
    const { reset, linger, stalls } = this.#options
    const client = this.#client
    client.off('data', this.#fromClient).off('drain', this.#clientDrained).off('end', this.#clientEnded)
    const first = this.#rest.takeAll()
    const server = link.detach()
    stalls.watchSocket(server, () => this.#abort(TAKEN_NOTHING.byServer))
    openTunnel({ client, out: this.#out, server, first, tally, reset, linger })
  }

  /** Goes on to the next request when this one and its answer are over. */
  #settle(current: Current): void {
    const { body, answer, asked } = current
    if (this.#current !== current || !answer?.isDone) return
    if (!body.isDone) {
      // A server that has heard enough: it may still read on, or close.
      if (!answer.isReusable) this.#close()
      return
    }
    this.#tell(current)
    this.#current = undefined
    if (this.#server.link) this.#server.link.isUsed = true
    if (!answer.isReusable) this.#server.release(false)
    if (asked.wantsClose) this.#close()
    else {
      this.#patience.refresh()
      this.#next()
    }
  }

  #tell({ asked, body }: Current): void {
    body.letGo()
    this.#options.onExchange(asked.tally.sum())
  }

  #serverGone(link: Http1Link, isClean: boolean): void {
    if (this.#server.link !== link) return
    const current = this.#current
    this.#server.release(false)
    const answer = current?.answer
    if (!current?.isSent || !answer) return
    if (answer.isBegun) {
      if (answer.isDone || (answer.isOpenEnded && isClean)) this.#close()
      else this.#abort('its server broke off')
    } else if (answer.isUnheard && link.isUsed && current.plan.isRepeatable) {
      current.isSent = false
      this.#server.open(true)
    } else if (link.isUsed) this.#abort('its server closed the connection')
    else this.#fail('it closed the connection without an answer')
  }

  /** The server has done what it must not: told to the client if nothing else was. */
  #fail(problem: string, status: 502 | 504 = 502): void {
    const { host } = this.#options.server
    if (this.#current?.answer?.isBegun) this.#abort(problem)
    else this.#refuse({ status, text: `the server ${host} cannot be used: ${problem}` })
  }

  /** An answer of our own, and the end. */
  #refuse(refusal: Refusal, asked = this.#current?.asked): void {
    const tally = asked?.tally ?? new Tally(this.#options.server, { method: '', target: '' })
    tally.status = refusal.status
    tally.refusal = refusal.text
    this.#current?.body.letGo()
    this.#options.onExchange(tally.sum())
    this.#current = undefined
    this.#out.flush()
    this.#client.write(formatRefusal(refusal, asked?.method))
    this.#server.release(false)
    this.#close()
  }

  /** Ends the connection once what was written has gone out. */
  #close(): void {
    if (this.#isClosing) return
    this.#isClosing = true
    const current = this.#current
    if (current) this.#tell(current)
    this.#current = undefined
    this.#rest.takeAll()
    this.#server.release(current === undefined)
    endAndLinger(this.#client, this.#options.linger)
  }

  #abort(problem: string): void {
    if (this.#current) this.#current.asked.tally.refusal = problem
    this.#options.reset()
  }

  /** Nobody holds a connection for nothing, or by sending a head for ever. */
  #waitedTooLong(ms: number): void {
    if (this.#current || this.#isClosing) return
    if (this.#rest.isEmpty) this.#close()
    else this.#refuse({ status: 408, text: `no whole request has come within ${ms / 1000} seconds` })
  }

  readonly #clientEnded = (): void => {
    this.#hasEnded = true
    const current = this.#current
    if (!current) this.#close()
    else if (!current.body.isDone) this.#options.reset()
    else current.asked.wantsClose = true
  }

  #clientGone(): void {
    clearTimeout(this.#patience)
    const current = this.#current
    this.#isClosing = true
    this.#current = undefined
    if (current) this.#tell(current)
    this.#server.release(current === undefined)
  }
}
