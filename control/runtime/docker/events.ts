// What the daemon tells of containers as it happens: one stream, followed for ever, opened again when it breaks.

import { addAbortSignal, type Readable } from 'node:stream'
import { messageOf } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/log.ts'
import { type Backoff, backoffMs, pause } from '../../async.ts'
import { type Engine, ping } from './engine.ts'

const PAUSES: Backoff = { firstMs: 100, longestMs: 2000 }
/** Until the stream is there; it then has no end. */
const OPEN_TIMEOUT_MS = 10_000
/** An event carries the labels of its container, and an image may have many. */
const MAX_LINE_LENGTH = 4 << 20

export type EngineEvent =
  /** From here on nothing is missed, until the next of these. */
  { type: 'connected' } | { type: Happening; name: string; labels: Record<string, string> }

/** What is followed, by the daemon's own words. */
const HAPPENINGS = { die: 'ended', pause: 'changed', unpause: 'changed' } as const
type Happening = (typeof HAPPENINGS)[keyof typeof HAPPENINGS]

/** Events of the containers that `label` finds, until the signal aborts. */
export async function* followEvents(
  engine: Engine,
  { label, log, signal }: { label: string; log: Logger; signal: AbortSignal },
): AsyncGenerator<EngineEvent> {
  let failures = 0
  while (!signal.aborted) {
    const over = new AbortController()
    try {
      const stream = await openStream(engine, label, AbortSignal.any([signal, over.signal]))
      if (failures > 0) log.info('the Docker daemon is back')
      failures = 0
      yield { type: 'connected' }
      if (engine.aliveEveryMs !== undefined) void watchLife(engine, engine.aliveEveryMs, over)
      for await (const line of linesOf(stream)) {
        const event = readEvent(line)
        if (event) yield event
      }
    } catch (error) {
      if (signal.aborted) return
      if (failures === 0)
        log.warn('the Docker daemon does not tell what happens', { error: messageOf(error) })
    } finally {
      over.abort()
    }
    failures++
    await pause(backoffMs(PAUSES, failures, Math.random()), signal)
  }
}

async function openStream(engine: Engine, label: string, signal: AbortSignal): Promise<Readable> {
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(), OPEN_TIMEOUT_MS)
  try {
    const filters = { type: ['container'], event: Object.keys(HAPPENINGS), label: [label] }
    const stream = (await engine.docker.getEvents({
      filters,
      abortSignal: AbortSignal.any([signal, late.signal]),
    } as object)) as Readable
    // The client lets go of the signal once there is an answer.
    return addAbortSignal(signal, stream)
  } finally {
    clearTimeout(timer)
  }
}

/** A network that is gone ends no stream: so the daemon is asked now and then whether it is there, and the stream given up when not. */
async function watchLife(engine: Engine, everyMs: number, over: AbortController): Promise<void> {
  for (;;) {
    await pause(everyMs, over.signal)
    if (over.signal.aborted) return
    await ping(engine, { timeoutMs: everyMs, signal: over.signal }).catch((error) => over.abort(error))
  }
}

async function* linesOf(stream: Readable): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of stream.setEncoding('utf8')) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > MAX_LINE_LENGTH) throw new Error(`a line is longer than ${MAX_LINE_LENGTH}`)
    yield* lines
  }
}

/** What a line of the stream says, or undefined when it is nothing that matters here. */
export function readEvent(line: string): EngineEvent | undefined {
  let event: { Action?: unknown; Actor?: { Attributes?: Record<string, string> } }
  try {
    event = JSON.parse(line)
  } catch {
    return undefined // the daemon broke off
  }
  const { name, ...labels } = event.Actor?.Attributes ?? {}
  const type = happeningOf(event.Action)
  return type && name !== undefined ? { type, name, labels } : undefined
}

function happeningOf(action: unknown): Happening | undefined {
  return typeof action === 'string' && Object.hasOwn(HAPPENINGS, action)
    ? HAPPENINGS[action as keyof typeof HAPPENINGS]
    : undefined
}
