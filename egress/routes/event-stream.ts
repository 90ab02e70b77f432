// The decisions about a sandbox as they are made: server-sent events (WHATWG HTML 9.2). A reader that comes back with the id of the
// last one it has seen misses nothing that is still kept, and is told how much is not. A slow reader is waited for and costs nothing
// more: events wait in the record, which has its own bounds.

import type { Context } from 'hono'
import { stream } from 'hono/streaming'
import { Counts } from '../../lib/counts.ts'
import { ApiError } from '../../lib/errors.ts'
import type { DecisionRecord, ToldEvent } from '../record.ts'

export type EventStreamOptions = {
  record: Pick<DecisionRecord, 'epoch' | 'page' | 'newest' | 'changed'>
  /** Whether the sandbox is still there. */
  isThere: (id: string) => boolean
  /** Where a reader is that names no event; absent for the newest. */
  after?: number
  pingMs?: number
}

/** Of one sandbox at once; each holds a connection. */
const MAX_READERS = 16
const BATCH = 100
const PING_MS = 15_000

/** Counts its readers, so that each program has one. */
export function createEventStreams(): (
  context: Context,
  id: string,
  options: EventStreamOptions,
) => Response {
  const readers = new Counts()

  return (context, id, { record, isThere, after, pingMs = PING_MS }) => {
    const count = readers.of(id)
    if (count >= MAX_READERS)
      throw new ApiError(
        429,
        'TOO_MANY_READERS',
        `at most ${MAX_READERS} readers may follow the events of a sandbox at once, and there are ${count}`,
      )
    const seen = readLastEventId(context.req.header('last-event-id'))
    // What an earlier run of egress has counted says nothing of what this one has.
    const isOther = seen !== undefined && (seen.epoch !== record.epoch || seen.sequence > record.newest(id))
    const leave = readers.add(id)
    context.header('Content-Type', 'text/event-stream')
    context.header('Cache-Control', 'no-store')
    context.header('X-Accel-Buffering', 'no')
    return stream(context, async (output) => {
      const left = new AbortController()
      output.onAbort(() => left.abort())
      let position = isOther ? 0 : (seen?.sequence ?? after ?? record.newest(id))
      try {
        await output.write('retry: 2000\n: open\n\n')
        if (isOther) await output.write('event: reset\ndata: {}\n\n')
        while (!left.signal.aborted && isThere(id)) {
          const { events, next, lost } = record.page(id, { after: position, limit: BATCH })
          if (lost > 0) await output.write(`event: lost\ndata: ${JSON.stringify({ lost })}\n\n`)
          if (events.length > 0) await output.write(events.map((each) => format(record.epoch, each)).join(''))
          position = events.length > 0 ? next : position + lost
          if (events.length > 0) continue
          const ping = AbortSignal.timeout(pingMs)
          await record.changed(id, AbortSignal.any([left.signal, ping]))
          if (ping.aborted && !left.signal.aborted) await output.write(': ping\n\n')
        }
        if (!left.signal.aborted) await output.write('event: end\ndata: {}\n\n')
      } finally {
        leave()
      }
    })
  }
}

function format(epoch: string, event: ToldEvent): string {
  return `id: ${epoch}-${event.sequence}\nevent: decision\ndata: ${JSON.stringify(event)}\n\n`
}

function readLastEventId(text: string | undefined): { epoch: string; sequence: number } | undefined {
  if (text === undefined || text === '') return undefined
  const [, epoch, sequence] = /^([0-9a-z]{1,12})-(\d{1,15})$/.exec(text) ?? []
  if (epoch === undefined)
    throw new ApiError(
      400,
      'INVALID_QUERY',
      `Last-Event-ID must be the id of an event of this stream, but it is ${JSON.stringify(text.slice(0, 40))}`,
    )
  return { epoch, sequence: Number(sequence) }
}
