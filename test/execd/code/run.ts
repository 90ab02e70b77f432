// Code contexts of a real execd, as clients use them.

import { type Daemon, parseEvents } from '../daemon.ts'

export type CodeEvent = {
  type: string
  text?: string
  execution_count?: number
  results?: Record<string, string>
  error?: { ename: string; evalue: string; traceback: string[] }
  timestamp: number
}

/** Makes a context and gives its id. */
export async function createContext(execd: Daemon, language: string, cwd?: string): Promise<string> {
  const response = await execd.call('/code/context', {
    method: 'POST',
    body: JSON.stringify({ language, ...(cwd ? { cwd } : {}) }),
  })
  const body = (await response.json()) as { id: string; message?: string }
  if (response.status !== 200) throw new Error(`Cannot make a context: ${response.status} ${body.message}`)
  return body.id
}

/** Runs code and returns all events but the pings. */
export async function runCode(execd: Daemon, id: string, code: string): Promise<CodeEvent[]> {
  const response = await startCode(execd, id, code)
  const events = parseEvents(await response.text()) as CodeEvent[]
  return events.filter(({ type }) => type !== 'ping')
}

export function startCode(execd: Daemon, id: string, code: string, signal?: AbortSignal): Promise<Response> {
  return execd.call('/code', {
    method: 'POST',
    body: JSON.stringify({ context: { id }, code }),
    ...(signal ? { signal } : {}),
  })
}

export function stdoutOf(events: CodeEvent[]): string {
  return textsOf(events, 'stdout')
}

export function textsOf(events: CodeEvent[], type: 'stdout' | 'stderr'): string {
  return events
    .filter((event) => event.type === type)
    .map((event) => event.text)
    .join('')
}

/** What the results say in plain text. */
export function resultsOf(events: CodeEvent[]): (string | undefined)[] {
  return events.filter(({ type }) => type === 'result').map(({ results }) => results?.text)
}

export function errorOf(events: CodeEvent[]): CodeEvent['error'] {
  return events.find(({ type }) => type === 'error')?.error
}

export function typesOf(events: CodeEvent[]): string[] {
  return events.map(({ type }) => type)
}
