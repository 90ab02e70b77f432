// Reads what a server answers to one request, and passes it on to the client without what the client must not see.

import type { Injection } from '../vault/port.ts'
import type { Tally } from './exchange.ts'
import { forwardedResponseFields, redact, redactedTrailers } from './fields.ts'
import { HeadBuffer } from './head-buffer.ts'
import type { HeadedWriter } from './headed-writer.ts'
import { planAnswer } from './http1-answer.ts'
import { Body } from './http1-body.ts'
import { formatResponseHead, parseResponseHead, type ResponseHead } from './http1-head.ts'
import type { SecretFinder } from './secret-finder.ts'

export type Asked = {
  method: string
  minor: 0 | 1
  isUpgrade: boolean
  hasBody: boolean
  /** Until the server asks for the body. */
  awaitsContinue: boolean
  injection: Injection | undefined
  secrets: SecretFinder
  tally: Tally
  /** The client's connection ends after it; set also when the answer ends with its connection. */
  wantsClose: boolean
}

export class AnswerReader {
  readonly #asked: Asked
  readonly #to: HeadedWriter
  readonly #heads = new HeadBuffer()
  #body: Body | undefined
  #isSwitched = false
  #isReusable = false

  constructor(asked: Asked, to: HeadedWriter) {
    this.#asked = asked
    this.#to = to
  }

  /** Nothing has come at all. */
  get isUnheard(): boolean {
    return this.#heads.isEmpty && !this.isBegun
  }

  /** The client has been told how it begins. */
  get isBegun(): boolean {
    return this.#body !== undefined || this.#isSwitched
  }

  get isDone(): boolean {
    return this.#body?.isDone ?? false
  }

  /** What follows is another protocol. */
  get isSwitched(): boolean {
    return this.#isSwitched
  }

  /** Whether it ends when its connection does. */
  get isOpenEnded(): boolean {
    return this.#body?.isOpenEnded ?? false
  }

  /** Whether the server's connection is good for another request. */
  get isReusable(): boolean {
    return this.#isReusable
  }

  /** Gives what the server has done that it must not. */
  read(chunk: Buffer): string | undefined {
    let bytes = chunk
    if (!this.isBegun) {
      this.#heads.push(chunk)
      const problem = this.#readHeads()
      if (problem !== undefined || !this.isBegun) return problem
      bytes = this.#heads.takeAll()
    }
    if (this.#isSwitched) {
      if (bytes.length > 0) this.#to.write(bytes)
      return undefined
    }
    const body = this.#body
    if (!body || bytes.length === 0) return undefined
    const { pass, used, problem } = body.take(bytes)
    for (const part of pass) this.#to.write(part)
    if (problem !== undefined) return problem
    // Nobody has asked for more: it would be taken for the answer to the next request.
    if (body.isDone && used < bytes.length) this.#isReusable = false
    return undefined
  }

  /** Reads heads up to the one that is followed by its body. */
  #readHeads(): string | undefined {
    while (!this.isBegun) {
      const text = this.#heads.takeHead()
      if (text === undefined) return this.#heads.isFull ? 'the head of its answer is too long' : undefined
      const head = parseResponseHead(text)
      const problem = 'problem' in head ? head.problem : this.#begin(head, text)
      if (problem !== undefined) return problem
    }
    return undefined
  }

  #begin(head: ResponseHead, text: string): string | undefined {
    const { tally } = this.#asked
    const plan = planAnswer(head, this.#asked)
    if ('problem' in plan) return plan.problem
    const injection = this.#asked.secrets.injectionIn(text, this.#asked.injection)
    if (head.status === 100) this.#asked.awaitsContinue = false
    if (plan.is === 'interim') return plan.isTold ? this.#tell(head, injection) : undefined
    tally.status = head.status
    if (plan.is === 'switch') {
      const problem = this.#tell(head, injection, 'Upgrade')
      this.#isSwitched = problem === undefined
      return problem
    }
    if (plan.framing.kind === 'close') this.#asked.wantsClose = true
    const problem = this.#tell(head, injection, this.#asked.wantsClose ? 'close' : undefined)
    if (problem !== undefined) return problem
    this.#isReusable = plan.isReusable
    this.#body = new Body(plan.framing, (lines) => redactedTrailers(lines, this.#asked.injection))
    return undefined
  }

  #tell(
    head: ResponseHead,
    injection: Injection | undefined,
    says?: 'close' | 'Upgrade',
  ): string | undefined {
    const { connection, status } = head
    const lines = forwardedResponseFields(head.fields, { connection, injection, says })
    if ('problem' in lines) return lines.problem
    this.#to.addHead(formatResponseHead({ status, reason: redact(head.reason, injection) }, lines))
    return undefined
  }
}
