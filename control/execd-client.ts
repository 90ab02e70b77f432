// How control asks the execd of a sandbox: whether it answers, and to run a command. What a sandbox answers is its user's to
// forge, so nothing is believed of it but how its own command went.

import { connect } from 'node:net'
import { EXECD_TOKEN_HEADER, type StreamEvent } from '../lib/api/execd.ts'
import { EXECD_PORT } from '../lib/api/guest.ts'
import { ask, type Question } from './ask.ts'

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
  /** The text of the answer. Rejects when execd does not answer as it should. */
  const askExecd = async (
    { address, token }: ExecdTarget,
    { body, ...asked }: Pick<Question, 'method' | 'path' | 'body' | 'signal'>,
  ): Promise<string> => {
    const answer = await ask({
      ...asked,
      host: address,
      port,
      // An address is another sandbox's once this one is gone: no connection is kept.
      agent: false,
      headers: {
        ...headers(),
        [EXECD_TOKEN_HEADER]: token,
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body }),
      maxAnswerBytes: MAX_ANSWER_BYTES,
    })
    if (answer.status !== 200)
      throw new Error(`execd answers ${asked.method} ${asked.path} with ${answer.status}`)
    return answer.body.toString()
  }
  return {
    async ping(target, signal) {
      await askExecd(target, { method: 'GET', path: '/ping', signal })
    },
    async run(target, { line, envs }, signal) {
      const body = Buffer.from(JSON.stringify({ command: line, ...(envs && { envs }) }))
      return readOutcome(await askExecd(target, { method: 'POST', path: '/command', body, signal }))
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
