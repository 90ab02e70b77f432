// How control asks the execd of a sandbox: whether it answers, and to run a command. What a sandbox answers is its user's to
// forge, so nothing is believed of it but how its own command went.

import { request } from 'node:http'
import { connect } from 'node:net'
import { EXECD_TOKEN_HEADER, type StreamEvent } from '../lib/api/execd.ts'
import { EXECD_PORT } from '../lib/api/guest.ts'

const MAX_ANSWER_BYTES = 1 << 20
const MAX_REASON_LENGTH = 500

export type ExecdTarget = { address: string; token: string }
/** How a command ended; `reason` says what went wrong. */
export type CommandOutcome = { ok: true } | { ok: false; reason: string }

export type ExecdClient = {
  /** Resolves when execd answers. */
  ping(target: ExecdTarget, signal: AbortSignal): Promise<void>
  /** Runs a command line to its end. Rejects when execd does not answer as it should. */
  run(
    target: ExecdTarget,
    command: { line: string; envs?: Record<string, string> },
    signal: AbortSignal,
  ): Promise<CommandOutcome>
  /** Whether something in the sandbox takes a connection from outside of it. */
  accepts(target: ExecdTarget, port: number, signal: AbortSignal): Promise<boolean>
}

/** `headers` are those of the request that this belongs to. */
export function createExecdClient({
  port = EXECD_PORT,
  headers = () => ({}),
}: {
  port?: number
  headers?: () => Record<string, string>
} = {}): ExecdClient {
  return {
    async ping(target, signal) {
      await ask(target, { port, headers: headers(), method: 'GET', path: '/ping', signal })
    },
    async run(target, { line, envs }, signal) {
      const body = JSON.stringify({ command: line, ...(envs && { envs }) })
      return readOutcome(
        await ask(target, { port, headers: headers(), method: 'POST', path: '/command', body, signal }),
      )
    },
    accepts({ address }, wanted, signal) {
      return new Promise((resolve) => {
        const socket = connect({ host: address, port: wanted, signal })
        const settle = (accepted: boolean) => {
          socket.destroy()
          resolve(accepted)
        }
        socket.once('connect', () => settle(true))
        socket.once('error', () => settle(false))
      })
    },
  }
}

/** What the stream of a command says of its end. */
function readOutcome(stream: string): CommandOutcome {
  for (const frame of stream.split('\n\n')) {
    const text = frame.trim().replace(/^data:\s*/, '')
    if (text === '') continue
    const event = readEvent(text)
    if (event?.type === 'execution_complete') return { ok: true }
    if (event?.type === 'error') {
      const { ename, evalue } = event.error
      const reason = /^\d+$/.test(evalue) ? `it exited with ${evalue}` : `${ename}: ${evalue}`
      return { ok: false, reason: reason.slice(0, MAX_REASON_LENGTH) }
    }
  }
  throw new Error('execd did not say how the command ended')
}

function readEvent(text: string): StreamEvent | undefined {
  try {
    return JSON.parse(text) as StreamEvent
  } catch {
    return undefined // a line that is no event tells nothing of the end
  }
}

type Ask = {
  port: number
  headers: Record<string, string>
  method: string
  path: string
  body?: string
  signal: AbortSignal
}

function ask(
  { address, token }: ExecdTarget,
  { port, headers, method, path, body, signal }: Ask,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        host: address,
        port,
        method,
        path,
        signal,
        // An address is another sandbox's once this one is gone: no connection is kept.
        agent: false,
        headers: {
          ...headers,
          [EXECD_TOKEN_HEADER]: token,
          ...(body !== undefined && {
            'content-type': 'application/json',
            'content-length': String(Buffer.byteLength(body)),
          }),
        },
      },
      (answer) => {
        const chunks: Uint8Array[] = []
        let size = 0
        answer.on('data', (chunk: Uint8Array) => {
          size += chunk.byteLength
          if (size > MAX_ANSWER_BYTES)
            asked.destroy(new Error(`The answer has more than ${MAX_ANSWER_BYTES} bytes`))
          else chunks.push(chunk)
        })
        answer.on('error', reject)
        answer.on('end', () => {
          if (answer.statusCode === 200) resolve(Buffer.concat(chunks).toString())
          else reject(new Error(`execd answers ${method} ${path} with ${answer.statusCode}`))
        })
      },
    )
    asked.on('error', (error) => reject(signal.aborted ? signal.reason : error))
    asked.end(body)
  })
}
