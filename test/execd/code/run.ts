// Code contexts of a real execd, as clients use them.

import { type Daemon, parseEvents } from '../daemon.ts'

export type CodeEvent = {
  type: string
  text?: string
  /** Beside the id of the context, in `init`. */
  execution_id?: string
  execution_count?: number
  results?: Record<string, string>
  error?: { ename: string; evalue: string; traceback: string[] }
  timestamp: number
}

/** The id of a context, or a language for its default one. */
export type Where = string | { language: string }

/** Makes a context and gives its id. */
export async function createContext(
  execd: Daemon,
  language: string,
  cwd?: string,
  envs?: Record<string, string>,
): Promise<string> {
  const response = await execd.call('/code/context', {
    method: 'POST',
    body: JSON.stringify({ language, ...(cwd ? { cwd } : {}), ...(envs ? { envs } : {}) }),
  })
  const body = (await response.json()) as { id: string; message?: string }
  if (response.status !== 200) throw new Error(`Cannot make a context: ${response.status} ${body.message}`)
  return body.id
}

/** Runs code and returns all events but the pings. */
export async function runCode(execd: Daemon, where: Where, code: string): Promise<CodeEvent[]> {
  const response = await startCode(execd, where, code)
  const events = parseEvents(await response.text()) as CodeEvent[]
  return events.filter(({ type }) => type !== 'ping')
}

export function startCode(
  execd: Daemon,
  where: Where,
  code: string,
  signal?: AbortSignal,
): Promise<Response> {
  const context = typeof where === 'string' ? { id: where } : where
  return execd.call('/code', {
    method: 'POST',
    body: JSON.stringify({ context, code }),
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

/** A run whose events are read as they come. */
export type LiveRun = {
  /** Resolves with the first event, and all after it, that `isWanted`. */
  see(isWanted: (event: CodeEvent) => boolean): Promise<CodeEvent>
  /** All events but the pings. */
  end: Promise<CodeEvent[]>
  leave(): void
}

/** Starts code and reads along; its client can leave. */
export async function followCode(execd: Daemon, where: Where, code: string): Promise<LiveRun> {
  const controller = new AbortController()
  const response = await startCode(execd, where, code, controller.signal)
  const events: CodeEvent[] = []
  let changed = Promise.withResolvers<void>()
  const read = async () => {
    let text = ''
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString('latin1')
      const last = text.lastIndexOf('\n\n')
      // An event can be longer than what comes at once.
      if (last < 0) continue
      const end = last + 2
      const whole = Buffer.from(text.slice(0, end), 'latin1').toString()
      events.push(...(parseEvents(whole) as CodeEvent[]).filter(({ type }) => type !== 'ping'))
      text = text.slice(end)
      changed.resolve()
      changed = Promise.withResolvers()
    }
  }
  const end = read().then(() => events)
  // Whoever leaves does not hear of the end.
  end.catch(() => {})
  const see = async (isWanted: (event: CodeEvent) => boolean): Promise<CodeEvent> => {
    for (;;) {
      const found = events.find(isWanted)
      if (found) return found
      await Promise.race([changed.promise, end.then(() => Promise.reject(new Error('The run is over')))])
    }
  }
  return { see, end, leave: () => controller.abort() }
}

/** Interrupts by the id of a context or of a run; the status of the answer. */
export async function interrupt(execd: Daemon, id: string, path = '/code'): Promise<number> {
  const response = await execd.call(`${path}?id=${id}`, { method: 'DELETE' })
  await response.text()
  return response.status
}
