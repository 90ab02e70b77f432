// The body of a request on its way: passed on as it comes, or held until it is whole when texts in it are replaced by secrets.

import type { Framing } from '../../lib/http1/framing.ts'
import type { Injection } from '../vault/port.ts'
import { substituteBody } from '../vault/substitute.ts'
import { forwardedTrailers } from './fields.ts'
import { EMPTY } from './head-buffer.ts'
import { HeldBody } from './held-body.ts'
import { Body } from './http1-body.ts'

export class RequestBody {
  readonly #body: Body
  readonly #injection: Injection | undefined
  readonly #letGo: (() => void) | undefined
  #held: HeldBody | undefined

  /** It is held when there is something to call once it no longer is; that is one with a length. */
  constructor(framing: Framing, injection: Injection | undefined, letGo: (() => void) | undefined) {
    this.#body = new Body(framing, (lines) => forwardedTrailers(lines, injection))
    this.#injection = injection
    this.#letGo = letGo
    if (letGo) this.#held = new HeldBody(framing.kind === 'length' ? framing.length : 0)
  }

  /** All of it has come. */
  get isDone(): boolean {
    return this.#body.isDone
  }

  get isHeld(): boolean {
    return this.#held !== undefined
  }

  /** Gives what does not belong to it. What belongs to it is passed on, unless it is held. */
  take(bytes: Buffer, pass: (part: Buffer) => void): { rest: Buffer; problem?: string } {
    if (this.#body.isDone || bytes.length === 0) return { rest: bytes }
    const taken = this.#body.take(bytes)
    for (const part of taken.pass) {
      if (this.#held) this.#held.push(part)
      else pass(part)
    }
    if (taken.problem !== undefined) return { rest: EMPTY, problem: taken.problem }
    return { rest: taken.used === bytes.length ? EMPTY : bytes.subarray(taken.used) }
  }

  /** What was held, with secrets in the place of the texts that stand for them. It counts as held until it is let go. */
  takeHeld(contentType: string | undefined): Buffer {
    const whole = this.#held?.takeAll() ?? EMPTY
    this.#held = undefined
    return substituteBody(whole, this.#injection?.substitutions ?? [], contentType)
  }

  letGo(): void {
    this.#held = undefined
    this.#letGo?.()
  }
}
