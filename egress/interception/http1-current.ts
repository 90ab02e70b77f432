// A request of HTTP/1 that is under way: what came, what becomes of it, and how far it is.

import { isEmpty } from '../../lib/http1/framing.ts'
import type { Injection } from '../vault/port.ts'
import { type Relaying, Tally } from './exchange.ts'
import type { AnswerReader, Asked } from './http1-answer-reader.ts'
import { firstOf, formatRequestHead, type Line, parseRequestHead, type RequestHead } from './http1-head.ts'
import { planRequest, type RequestPlan } from './http1-request.ts'
import { RequestBody } from './http1-request-body.ts'
import { type Refusal, TOO_MANY_HELD } from './judge-request.ts'

export type Current = {
  came: RequestHead
  plan: RequestPlan
  asked: Asked
  body: RequestBody
  /** A body that was held, as it is sent. */
  whole: Buffer | undefined
  isSent: boolean
  answer: AnswerReader | undefined
}

/** `asked` is what could be read of it. */
export type Refused = { refusal: Refusal; asked?: Asked }

/** `text` is the whole head. */
export function beginRequest(
  text: string,
  { server, vault, holdBody, secrets }: Pick<Relaying, 'server' | 'vault' | 'holdBody' | 'secrets'>,
): Current | Refused {
  const came = parseRequestHead(text)
  if ('problem' in came) return { refusal: { status: came.status ?? 400, text: came.problem } }
  const { method, minor, connection } = came
  const tally = new Tally(server, came)
  const wantsClose = minor === 0 || connection.includes('close')
  const askedWith = (injection: Injection | undefined, isUpgrade: boolean): Asked => ({
    method,
    minor,
    isUpgrade,
    hasBody: !isEmpty(came.framing),
    awaitsContinue: firstOf(came.fields, 'expect') !== undefined,
    injection,
    secrets,
    tally,
    wantsClose,
  })
  const plan = planRequest(came, server, vault())
  if ('refusal' in plan) {
    tally.binding = plan.binding
    return { refusal: plan.refusal, asked: askedWith(undefined, false) }
  }
  const { injection, framing, isUpgrade, holdsBody } = plan
  tally.injection = injection
  const asked = askedWith(injection, isUpgrade)
  const letGo = holdsBody ? holdBody() : undefined
  if (holdsBody && !letGo) return { refusal: TOO_MANY_HELD, asked }
  const body = new RequestBody(framing, injection, letGo)
  return { came, plan, asked, body, whole: undefined, isSent: false, answer: undefined }
}

/** The head as it goes to the server. */
export function headToSend({ came, plan, whole }: Current): string {
  const { method, minor } = came
  const lines = whole ? withLength(plan.lines, whole.length) : plan.lines
  return formatRequestHead({ method, target: plan.target, minor }, lines)
}

/** Takes the body that was held, with secrets in it. */
export function makeWhole(current: Current): void {
  current.whole = current.body.takeHeld(firstOf(current.came.fields, 'content-type'))
}

function withLength(lines: readonly Line[], length: number): Line[] {
  const others = lines.filter(({ name }) => name.toLowerCase() !== 'content-length')
  return [...others, { name: 'Content-Length', value: String(length) }]
}
