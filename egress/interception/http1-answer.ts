// What the head of an answer of HTTP/1 means for what comes after it, and answers of our own. Pure.

import { STATUS_CODES } from 'node:http'
import type { Framing } from '../../lib/http1/framing.ts'
import { type Problem, type ResponseHead, responseFraming } from './http1-head.ts'
import type { Refusal } from './judge-request.ts'

export type AnswerPlan =
  /** Another answer comes after it; `isTold` unless its client speaks HTTP/1.0. */
  | { is: 'interim'; isTold: boolean }
  /** What follows is another protocol. */
  | { is: 'switch' }
  /** `isReusable`: whether the server's connection is good for another request after it. */
  | { is: 'final'; framing: Framing; isReusable: boolean }

/** Of these a server expects no body, and may take one for the next request, which then holds the secret of the one after it. */
const WITHOUT_BODY = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE'])

export type AnsweredRequest = {
  method: string
  minor: 0 | 1
  isUpgrade: boolean
  hasBody: boolean
  /** It says that its body comes when the server asks for it, which the server has not done: it may not expect the body any more. */
  awaitsContinue: boolean
}

export function planAnswer(
  head: Omit<ResponseHead, 'fields' | 'reason'>,
  { method, minor, isUpgrade, hasBody, awaitsContinue }: AnsweredRequest,
): AnswerPlan | Problem {
  if (head.status === 101)
    return isUpgrade ? { is: 'switch' } : { problem: 'it speaks another protocol that was not asked for' }
  if (head.status < 200) return { is: 'interim', isTold: minor === 1 }
  const framing = responseFraming(head, method)
  if ('problem' in framing) return framing
  const isDoubtful = hasBody && (awaitsContinue || WITHOUT_BODY.has(method))
  const isReusable =
    head.minor === 1 && framing.kind !== 'close' && !head.connection.includes('close') && !isDoubtful
  return { is: 'final', framing, isReusable }
}

/** The answer to a request that is refused, after which its connection ends. */
export function formatRefusal({ status, text }: Refusal, method: string | undefined): string {
  const body = `${text}\n`
  return (
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nContent-Type: text/plain; charset=utf-8\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n` +
    (method === 'HEAD' ? '' : body)
  )
}
