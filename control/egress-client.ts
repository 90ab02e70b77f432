// How control speaks to egress: two Unix sockets, one for administration (lib/api/egress-admin.ts), one on which clients'
// policy requests are handed on (contract: egress.md 2).

import { type RequestOptions, request } from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type {
  EgressAuthority,
  EgressNetwork,
  EgressRegistration,
  EgressSandbox,
} from '../lib/api/egress-admin.ts'
import { EGRESS_TOKEN_HEADER } from '../lib/api/lifecycle.ts'
import { messageOf } from '../lib/errors.ts'
import { type Answer, ask, type Question } from './ask.ts'

const ANSWER_TIMEOUT_MS = 10_000
const METRICS_TIMEOUT_MS = 1000
const MAX_ANSWER_BYTES = 8 * 1024 * 1024

export type EgressRequest = {
  id: string
  method: string
  token: string
  body?: Uint8Array
  /** Instead of the policy: what is asked about it, as the rest of the path with its query. */
  question?: string
  /** Where a stream is to go on. */
  lastEventId?: string
  signal: AbortSignal
}
export type EgressAnswer = { status: number; contentType: string; body: Uint8Array }
/** An answer that goes on; `body` ends, or fails, when the signal of its request aborts. */
export type EgressStream = { status: number; contentType: string; body: ReadableStream<Uint8Array> }

export type EgressClient = {
  /** Resolves when egress answers now. */
  check(signal: AbortSignal): Promise<void>
  /** Resolves once egress answers; rejects with one clear sentence when it does not in time. */
  waitUntilReady(timeoutMs: number, signal: AbortSignal): Promise<void>
  network(signal: AbortSignal): Promise<EgressNetwork>
  list(signal: AbortSignal): Promise<EgressSandbox[]>
  /** Resolves once the rules are in the kernel. */
  register(id: string, registration: EgressRegistration, signal: AbortSignal): Promise<void>
  /** The certificate of the sandbox's authority, made when there is none; `unregister` removes it. */
  authority(id: string, signal: AbortSignal): Promise<string>
  unregister(id: string, signal: AbortSignal): Promise<void>
  /** Hands a client's policy request on. */
  askPolicy(request: EgressRequest): Promise<EgressAnswer>
  /** Hands one on whose answer does not end by itself. */
  openPolicyStream(request: EgressRequest): Promise<EgressStream>
  /** What egress counts, as Prometheus reads it; empty when it does not answer. */
  formatMetrics(): Promise<string>
}

export function createEgressClient(sockets: { egressSocket: string; policySocket: string }): EgressClient {
  const admin = async (method: string, path: string, given: AbortSignal, body?: unknown) => {
    const signal = AbortSignal.any([given, AbortSignal.timeout(ANSWER_TIMEOUT_MS)])
    const answer = await askSocket({
      socketPath: sockets.egressSocket,
      method,
      path,
      ...(body !== undefined && {
        headers: { 'content-type': 'application/json' },
        body: Buffer.from(JSON.stringify(body)),
      }),
      signal,
    }).catch((error) => {
      given.throwIfAborted()
      throw new Error(`Egress does not answer (${messageOf(error)})`, { cause: error })
    })
    const text = answer.body.toString()
    if (answer.status >= 300)
      throw new Error(`Egress refused ${method} ${path.split('/')[1]}: ${readMessage(text)}`)
    return text === '' ? undefined : (JSON.parse(text) as unknown)
  }
  const check = async (signal: AbortSignal) => {
    const { status } = await askSocket({
      socketPath: sockets.egressSocket,
      method: 'GET',
      path: '/healthz',
      signal,
    })
    if (status !== 200) throw new Error(`it answers ${status}`)
  }
  const sandboxPath = (id: string) => `/sandboxes/${encodeURIComponent(id)}`
  return {
    check,
    async waitUntilReady(timeoutMs, signal) {
      const deadline = Date.now() + timeoutMs
      for (;;) {
        const tried = AbortSignal.any([signal, AbortSignal.timeout(2000)])
        try {
          return await check(tried)
        } catch (error) {
          signal.throwIfAborted()
          if (Date.now() > deadline)
            throw new Error(
              `Egress does not answer on "${sockets.egressSocket}" within ${timeoutMs / 1000} seconds (${messageOf(error)}): start it first`,
              { cause: error },
            )
        }
        await delay(50, undefined, { signal })
      }
    },
    network: async (signal) => (await admin('GET', '/network', signal)) as EgressNetwork,
    list: async (signal) =>
      ((await admin('GET', '/sandboxes', signal)) as { sandboxes: EgressSandbox[] }).sandboxes,
    register: async (id, registration, signal) =>
      void (await admin('PUT', sandboxPath(id), signal, registration)),
    authority: async (id, signal) =>
      ((await admin('PUT', `${sandboxPath(id)}/authority`, signal)) as EgressAuthority).certificate,
    unregister: async (id, signal) => void (await admin('DELETE', sandboxPath(id), signal)),
    async askPolicy({ id, method, token, body, question = '', signal }) {
      return await askSocket({
        socketPath: sockets.policySocket,
        method,
        path: `${sandboxPath(id)}/policy${question}`,
        headers: {
          [EGRESS_TOKEN_HEADER]: token,
          ...(body && { 'content-type': 'application/json' }),
        },
        ...(body && { body }),
        signal,
      })
    },
    openPolicyStream: ({ id, token, question = '', lastEventId, signal }) =>
      openStream({
        socketPath: sockets.policySocket,
        path: `${sandboxPath(id)}/policy${question}`,
        headers: {
          host: 'egress',
          [EGRESS_TOKEN_HEADER]: token,
          ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
        },
        signal,
      }),
    async formatMetrics() {
      try {
        const signal = AbortSignal.timeout(METRICS_TIMEOUT_MS)
        const asked = { socketPath: sockets.egressSocket, method: 'GET', path: '/metrics', signal }
        const { status, body } = await askSocket(asked)
        return status === 200 ? body.toString() : ''
      } catch {
        // Readiness says that egress is away; the numbers of everything else are worth having then.
        return ''
      }
    },
  }
}

function openStream(options: RequestOptions & { signal: AbortSignal }): Promise<EgressStream> {
  return new Promise((resolve, reject) => {
    const asked = request(options, (answer) => {
      resolve({
        status: answer.statusCode ?? 502,
        contentType: answer.headers['content-type'] ?? 'application/octet-stream',
        body: Readable.toWeb(answer) as ReadableStream<Uint8Array>,
      })
    })
    asked.on('error', reject)
    asked.end()
  })
}

/** Node asks a socket by the name of `localhost`; it is egress that is meant. */
function askSocket({ headers, ...question }: Omit<Question, 'maxAnswerBytes'>): Promise<Answer> {
  return ask({ ...question, headers: { host: 'egress', ...headers }, maxAnswerBytes: MAX_ANSWER_BYTES })
}

function readMessage(text: string): string {
  try {
    const parsed = JSON.parse(text) as unknown
    if (typeof parsed === 'object' && parsed !== null && 'message' in parsed) return String(parsed.message)
  } catch {
    // Plain text is what egress answers on the policy side; it is the message then.
  }
  return text.trim().slice(0, 500)
}
