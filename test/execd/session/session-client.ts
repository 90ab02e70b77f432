// Sessions as a client uses them.

import { request } from 'node:http'
import type { SessionList, SessionStatus } from '../../../lib/api/execd-session.ts'
import { type Daemon, type Event, outputOf, parseEvents } from '../daemon.ts'

export type RunBody = { command: string; cwd?: string | null; timeout?: number | null }

export type Run = {
  events: Event[]
  stdout: string
  stderr: string
  /** As a client infers it: 0 for a complete run, the number of an error, undefined when nothing tells. */
  exitCode: number | undefined
  traceback: string[]
}

export type TestSession = {
  id: string
  run(command: string, more?: Omit<RunBody, 'command'>): Promise<Run>
  /** Answers as they are. */
  post(body: unknown): Promise<Response>
  /** Begins a run and calls back with all text so far at every chunk; `leave` closes the connection. */
  begin(body: RunBody, onText?: (text: string) => void): { text: Promise<string>; leave(): void }
  status(): Promise<SessionStatus | undefined>
  delete(): Promise<Response>
}

export async function createSession(execd: Daemon, body?: Record<string, unknown>): Promise<TestSession> {
  const init = { method: 'POST', ...(body ? { body: JSON.stringify(body) } : {}) }
  const response = await execd.call('/session', init)
  const text = await response.text()
  if (response.status !== 200) throw new Error(`POST /session answered ${response.status}: ${text}`)
  return sessionOf(execd, (JSON.parse(text) as { session_id: string }).session_id)
}

export function sessionOf(execd: Daemon, id: string): TestSession {
  const path = `/session/${id}`
  const post = (body: unknown) =>
    execd.call(`${path}/run`, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })
  return {
    id,
    post,
    run: async (command, more = {}) => {
      const response = await post({ command, ...more })
      const text = await response.text()
      if (response.status !== 200) throw new Error(`${path}/run answered ${response.status}: ${text}`)
      return readRun(parseEvents(text))
    },
    begin: (body, onText = () => {}) => {
      const headers = { 'X-EXECD-ACCESS-TOKEN': 'secret-token' }
      const sent = request(`${execd.url}${path}/run`, { method: 'POST', headers })
      const text = new Promise<string>((resolve) => {
        let so = ''
        sent.once('error', () => resolve(so))
        sent.once('response', (response) => {
          response.on('data', (chunk: Buffer) => {
            so += chunk.toString()
            onText(so)
          })
          response.once('error', () => resolve(so))
          response.once('close', () => resolve(so))
        })
      })
      sent.end(JSON.stringify(body))
      return { text, leave: () => sent.destroy() }
    },
    status: async () => {
      const { sessions } = (await (await execd.call('/sessions')).json()) as SessionList
      return sessions.find(({ session_id }) => session_id === id)
    },
    delete: () => execd.call(path, { method: 'DELETE' }),
  }
}

export function readRun(events: Event[]): Run {
  const last = events.at(-1)
  const value = last?.error?.evalue ?? ''
  const code = /^-?\d+$/.test(value) ? Number(value) : undefined
  return {
    events,
    stdout: outputOf(events),
    stderr: outputOf(events, 'stderr'),
    exitCode: last?.type === 'execution_complete' ? 0 : code,
    traceback: last?.error?.traceback ?? [],
  }
}

/** Text as a word of a shell, by other means than execd's. */
export function shellWord(text: string): string {
  const bytes = [...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`)
  return `$'${bytes.join('')}'`
}
