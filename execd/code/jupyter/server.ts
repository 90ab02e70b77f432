// A Jupyter server's REST interface: every call has a deadline and a bound, connections are kept, and the token goes in a
// header, because what is in a URL ends up in logs.

import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { messageOf, systemCodeOf } from '../../../lib/errors.ts'
import { isRecord } from '../../../lib/is-record.ts'
import { parseKernelspecs, type ServedKernel } from './kernelspecs.ts'

const CALL_MS = 10_000
/** Starting a kernel may take a while on a busy machine, and the server answers only then. */
const START_MS = 60_000
const MAX_BODY_BYTES = 8 << 20

/** The server could not be asked, or did not do what it was asked for. */
export class ServerError extends Error {
  /** Absent when there was no answer at all. */
  readonly status: number | undefined
  constructor(message: string, status?: number, options: ErrorOptions = {}) {
    super(message, options)
    this.name = 'ServerError'
    this.status = status
  }
}

export type Session = { id: string; kernelId: string }

export type JupyterServer = {
  /** Where it is, for messages. */
  address: string
  kernelspecs(signal?: AbortSignal): Promise<ServedKernel[]>
  /** When the server started, in milliseconds since 1970, or undefined when it does not tell. */
  startedAt(): Promise<number | undefined>
  createSession(options: {
    path: string
    name: string
    kernel: string
    signal: AbortSignal
  }): Promise<Session>
  deleteSession(id: string): Promise<void>
  /** What the kernel is at, or undefined when there is no such kernel. */
  kernelState(kernelId: string): Promise<string | undefined>
  interrupt(kernelId: string): Promise<void>
  /** Where and with which headers the kernel's messages are had. */
  channels(kernelId: string, sessionId: string): { url: string; headers: Record<string, string> }
}

/** `host` begins with `http://` or `https://`; an empty token means a server that asks for none. */
export function createJupyterServer({ host, token }: { host: string; token: string }): JupyterServer {
  const base = host.replace(/\/+$/, '')
  const isTls = base.startsWith('https://')
  const agent = new (isTls ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: 16 })
  const headers: Record<string, string> = token === '' ? {} : { Authorization: `Token ${token}` }

  const call = async (
    method: string,
    path: string,
    options: { body?: unknown; timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<{ status: number; body: unknown }> => {
    const timeout = AbortSignal.timeout(options.timeoutMs ?? CALL_MS)
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
    try {
      return await exchange(
        { method, url: base + path, headers, agent, isTls, signal },
        options.body === undefined ? undefined : JSON.stringify(options.body),
      )
    } catch (error) {
      options.signal?.throwIfAborted()
      const why = timeout.aborted ? 'no answer in time' : (systemCodeOf(error) ?? messageOf(error))
      throw new ServerError(`${method} ${path} of the Jupyter server at ${base}: ${why}`, undefined, {
        cause: error,
      })
    }
  }

  /** The body of a call that must succeed. */
  const must = async (...args: Parameters<typeof call>): Promise<unknown> => {
    const { status, body } = await call(...args)
    if (status >= 200 && status < 300) return body
    const said = isRecord(body) && typeof body.message === 'string' ? `: ${body.message}` : ''
    throw new ServerError(
      `${args[0]} ${args[1]} of the Jupyter server at ${base} was answered with ${status}${said}`,
      status,
    )
  }

  const kernelPath = (id: string) => `/api/kernels/${encodeURIComponent(id)}`
  const sessionPath = (id: string) => `/api/sessions/${encodeURIComponent(id)}`

  return {
    address: base,
    kernelspecs: async (signal) => {
      const body = await must('GET', '/api/kernelspecs', signal ? { signal } : {})
      const kernels = parseKernelspecs(body)
      if (kernels) return kernels
      throw new ServerError(`What answers at ${base} is no Jupyter server`, 404)
    },
    startedAt: async () => {
      const body = await must('GET', '/api/status')
      const at = isRecord(body) && typeof body.started === 'string' ? Date.parse(body.started) : Number.NaN
      return Number.isNaN(at) ? undefined : at
    },
    createSession: async ({ path, name, kernel, signal }) => {
      const body = await must('POST', '/api/sessions', {
        body: { path, name, type: 'notebook', kernel: { name: kernel } },
        timeoutMs: START_MS,
        signal,
      })
      const kernelId = isRecord(body) && isRecord(body.kernel) ? body.kernel.id : undefined
      if (isRecord(body) && typeof body.id === 'string' && typeof kernelId === 'string')
        return { id: body.id, kernelId }
      throw new ServerError(`The Jupyter server at ${base} made a session without a kernel`)
    },
    deleteSession: async (id) => {
      const { status } = await call('DELETE', sessionPath(id), { timeoutMs: START_MS })
      // 404 and 410: it is gone already.
      if (status >= 300 && status !== 404 && status !== 410)
        throw new ServerError(
          `The Jupyter server at ${base} did not delete session "${id}": ${status}`,
          status,
        )
    },
    kernelState: async (kernelId) => {
      const { status, body } = await call('GET', kernelPath(kernelId))
      if (status === 404) return undefined
      if (status >= 300) throw new ServerError(`The Jupyter server at ${base} answered ${status}`, status)
      return isRecord(body) && typeof body.execution_state === 'string' ? body.execution_state : 'unknown'
    },
    interrupt: async (kernelId) => {
      await must('POST', `${kernelPath(kernelId)}/interrupt`)
    },
    channels: (kernelId, sessionId) => ({
      url: `${base.replace(/^http/, 'ws')}${kernelPath(kernelId)}/channels?session_id=${encodeURIComponent(sessionId)}`,
      headers,
    }),
  }
}

type Exchange = {
  method: string
  url: string
  headers: Record<string, string>
  agent: HttpAgent
  isTls: boolean
  signal: AbortSignal
}

function exchange(
  { method, url, headers, agent, isTls, signal }: Exchange,
  body: string | undefined,
): Promise<{ status: number; body: unknown }> {
  return new Promise((resolve, reject) => {
    const all = {
      ...headers,
      Accept: 'application/json',
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      'Content-Length': Buffer.byteLength(body ?? ''),
    }
    const outgoing = (isTls ? httpsRequest : httpRequest)(url, { method, headers: all, agent, signal })
    outgoing.once('error', reject)
    outgoing.once('response', (response) => {
      readBody(response).then(
        (text) => resolve({ status: response.statusCode ?? 0, body: parse(text) }),
        reject,
      )
    })
    outgoing.end(body)
  })
}

async function readBody(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_BODY_BYTES) throw new Error(`an answer of more than ${MAX_BODY_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** JSON, or nothing: error pages are HTML. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
