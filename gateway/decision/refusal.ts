// What the gateway answers itself: `{code, message}` for programs, and for browsers a small page that needs nothing else and
// says what to do next. The codes are the contract's where it has one. Pure, but for the request id that is handed in.

import { STATUS_CODES } from 'node:http'
import type { RequestHead } from '../http1/head.ts'
import type { SandboxAddress } from '../routing/host.ts'
import { formatPage, PAGE_FIELDS } from './page.ts'

export type Refusal = {
  status: number
  code: string
  message: string
  /** What the reader can do, as one more sentence on the page. */
  advice?: string
  /** Seconds after which another try makes sense; a browser's page tries by itself. */
  retryAfter?: number
  /** Complete header lines. */
  extra?: string
}

export type RefusalOptions = {
  wantsPage: boolean
  isHead: boolean
  close: boolean
  requestId: string
  now: Date
}

export const REFUSED = {
  unknown: (): Refusal => ({
    status: 404,
    code: 'DOCKER::SANDBOX_NOT_FOUND',
    message: 'There is no sandbox with this id',
    advice:
      'It may have been deleted, or its time may have run out. GET /v1/sandboxes lists those that there are.',
  }),
  starting: (): Refusal => ({
    status: 503,
    code: 'DOCKER::SANDBOX_NOT_RUNNING',
    message: 'The sandbox is still starting',
    advice: 'This page tries again by itself.',
    retryAfter: 1,
  }),
  paused: (): Refusal => ({
    status: 409,
    code: 'DOCKER::SANDBOX_NOT_RUNNING',
    message: 'The sandbox is paused',
    advice: 'POST /v1/sandboxes/{id}/resume lets it go on where it was.',
  }),
  waking: (): Refusal => ({
    status: 503,
    code: 'DOCKER::SANDBOX_NOT_RUNNING',
    message: 'The sandbox is waking up',
    advice: 'It was paused, and goes on where it was. This page tries again by itself.',
    retryAfter: 1,
  }),
  notWoken: (): Refusal => ({
    status: 503,
    code: 'DOCKER::SANDBOX_RESUME_FAILED',
    message: 'The sandbox is paused and could not be woken',
    advice: 'This page tries again by itself.',
    retryAfter: 5,
  }),
  closedToYou: (): Refusal => ({
    status: 401,
    code: 'MISSING_OR_INVALID_SECURE_ACCESS',
    message: 'This sandbox opens only to those who were let in',
    advice: 'Ask whoever runs it for a link. What was shared with you may have ended.',
    extra: 'WWW-Authenticate: OpenSandbox-Secure-Access\r\n',
  }),
  deadLink: (): Refusal => ({
    status: 404,
    code: 'GENERAL::NOT_FOUND',
    message: 'This link does not open anything',
    advice:
      'It may have ended, have been taken back, or have been for one use. Ask whoever sent it for another one.',
  }),
  noSigningKeys: (): Refusal => ({
    status: 503,
    code: 'GENERAL::UNAVAILABLE',
    message: 'This gateway has no keys to check signed names with',
    advice: 'Its operator sets them under ingress.secure_access.',
  }),
  tooManyGuesses: (): Refusal => ({
    status: 429,
    code: 'GENERAL::TOO_MANY_REQUESTS',
    message: 'Too much that opens nothing was tried from here',
    advice: 'Wait a moment, then open the link once more.',
    retryAfter: 30,
  }),
  ended: (state: 'stopping' | 'terminated' | 'failed'): Refusal => ({
    status: 410,
    code: 'DOCKER::SANDBOX_NOT_RUNNING',
    message: state === 'failed' ? 'The sandbox has failed' : 'The sandbox has ended',
    advice: 'It does not come back: create another one. GET /v1/sandboxes/{id} tells how it ended.',
  }),
  closed: ({ port }: Pick<SandboxAddress, 'port'>): Refusal => ({
    status: 502,
    code: 'BACKEND_CONNECTION_FAILED',
    message: `Nothing in the sandbox answers on port ${port}`,
    advice: `Start a server in the sandbox that listens on port ${port} of all addresses (0.0.0.0, not 127.0.0.1). This page tries again by itself.`,
    retryAfter: 3,
  }),
  unreachable: (): Refusal => ({
    status: 502,
    code: 'BACKEND_CONNECTION_FAILED',
    message: 'The sandbox cannot be reached',
    advice: 'This page tries again by itself.',
    retryAfter: 3,
  }),
  connectTimeout: (): Refusal => ({
    status: 504,
    code: 'BACKEND_TIMEOUT',
    message: 'The sandbox did not take the connection in time',
    advice: 'Its processes may be stuck or out of memory.',
  }),
  answerTimeout: (): Refusal => ({
    status: 504,
    code: 'BACKEND_TIMEOUT',
    message: 'The sandbox did not answer in time',
    advice: 'What answers this port in the sandbox took the request, and never began its answer.',
  }),
  broken: (problem?: string): Refusal => ({
    status: 502,
    code: 'BACKEND_RESPONSE_FAILED',
    message:
      problem === undefined
        ? 'The connection ended before the answer began'
        : `The answer is not valid HTTP/1.1: ${problem}`,
    advice: 'The log of what answers this port tells more.',
  }),
  noControl: (): Refusal => ({
    status: 503,
    code: 'GENERAL::UNAVAILABLE',
    message: 'The API is not running at the moment',
    advice: 'Sandboxes go on meanwhile. This page tries again by itself.',
    retryAfter: 1,
  }),
  busy: (): Refusal => ({
    status: 503,
    code: 'GENERAL::UNAVAILABLE',
    message: 'Too many requests are under way to this place',
    advice: 'Try again when some of them have ended.',
    retryAfter: 1,
  }),
  tooManyConnections: (): Refusal => ({
    status: 429,
    code: 'GENERAL::TOO_MANY_CONNECTIONS',
    message: 'There are too many connections from here',
    retryAfter: 1,
  }),
  bad: (status: number, problem: string): Refusal => ({
    status,
    code: HEAD_CODES[status] ?? 'GENERAL::BAD_REQUEST',
    message: `Cannot read the request: ${problem}`,
    ...(status === 405 && { extra: 'Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n' }),
  }),
} as const

const HEAD_CODES: Record<number, string> = {
  405: 'GENERAL::METHOD_NOT_ALLOWED',
  408: 'GENERAL::REQUEST_TIMEOUT',
  414: 'GENERAL::URI_TOO_LONG',
  417: 'GENERAL::EXPECTATION_FAILED',
  431: 'GENERAL::HEADERS_TOO_LARGE',
  505: 'GENERAL::VERSION_NOT_SUPPORTED',
}

/** Whether an answer is for somebody to look at. */
export function wantsPage({ fields }: Pick<RequestHead, 'fields'>): boolean {
  return fields.some(({ key, value }) => key === 'accept' && value.toLowerCase().includes('text/html'))
}

/** The whole answer: head and body. */
export function formatRefusal(
  refusal: Refusal,
  { wantsPage, isHead, close, requestId, now }: RefusalOptions,
): string {
  const { status, code, message, retryAfter, extra = '' } = refusal
  const body = wantsPage ? formatPage(refusal, requestId) : JSON.stringify({ code, message })
  const type = wantsPage ? 'text/html; charset=utf-8' : 'application/json'
  const page = wantsPage ? PAGE_FIELDS : ''
  const retry = retryAfter === undefined ? '' : `Retry-After: ${retryAfter}\r\n`
  return (
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Refused'}\r\nContent-Type: ${type}\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\nDate: ${now.toUTCString()}\r\nCache-Control: no-store\r\n` +
    `X-Request-ID: ${requestId}\r\n${retry}${page}${extra}${close ? 'Connection: close\r\n' : ''}\r\n${isHead ? '' : body}`
  )
}
