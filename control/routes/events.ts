import { type Context, Hono } from 'hono'
import { stream } from 'hono/streaming'
import { eventStreamQuerySchema, historyQuerySchema, type SandboxEvent } from '../../lib/api/events.ts'
import { formatTime } from '../../lib/api/lifecycle-parts.ts'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { invalid, readQuery } from '../body.ts'
import { waitForChange } from '../sandbox/wait-for-change.ts'
import type { StoredEvent } from '../store/events.ts'
import type { StoreEvent } from '../store/sqlite.ts'
import { isStillIn } from './still-in.ts'
import { visibleSubject } from './visible.ts'

const BATCH = 200
const PING_MS = 15_000

/**
 * What happens to sandboxes, as it happens: server-sent events (WHATWG HTML 9.2) with the position as their id, so that a
 * reader that comes back with `Last-Event-ID`, or `after`, misses nothing. An addition to the contract.
 */
export function eventRoutes({ lives, access }: Pick<AppDeps, 'lives' | 'access'>): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()

  routes.get('/events', (context) => {
    const { after, sandboxId } = readQuery(context, eventStreamQuerySchema)
    const { tenant } = context.get('principal')
    const { events } = lives.store
    const filter = {
      limit: BATCH,
      ...(tenant !== undefined && { tenant }),
      ...(sandboxId !== undefined && { sandboxId }),
    }
    // What happens to others costs a reader nothing, however many readers there are.
    const concerns = (event: StoreEvent) =>
      (tenant === undefined || event.tenant === tenant) && (sandboxId === undefined || event.id === sandboxId)
    const range = events.range()
    const from = lastEventId(context) ?? after ?? range.newest
    context.header('Content-Type', 'text/event-stream')
    context.header('Cache-Control', 'no-store')
    context.header('X-Accel-Buffering', 'no')
    return stream(context, async (output) => {
      const left = new AbortController()
      output.onAbort(() => left.abort())
      const signal = AbortSignal.any([lives.signal, left.signal])
      await output.write('retry: 2000\n: open\n\n')
      // What was before the oldest is gone, or the database is another one: the reader has to look at everything anew.
      if (from > range.newest || (from > 0 && from < range.oldest - 1))
        await output.write(`event: reset\ndata: ${JSON.stringify({ oldest: range.oldest })}\n\n`)
      let position = from > range.newest ? range.newest : from
      while (!signal.aborted) {
        // A writer waits for its reader, and the events wait in the database.
        const changed = waitForChange(lives.store, { signal, ms: PING_MS, concerns })
        const found = events.after(position, filter)
        if (!(await isStillIn(access.keyring, context))) {
          changed.cancel()
          return
        }
        if (found.length > 0) {
          position = found.at(-1)?.id ?? position
          await output.write(found.map(formatFrame).join(''))
          changed.cancel()
          continue
        }
        if (!(await changed.happened) && !signal.aborted) await output.write(': ping\n\n')
      }
    })
  })

  routes.get('/sandboxes/:id/history', (context) => {
    const { limit } = readQuery(context, historyQuerySchema)
    const { id } = visibleSubject(context, lives)
    return context.json({ items: lives.store.events.of(id, { limit }).map(formatEvent) })
  })

  return routes
}

/** The header by which an EventSource says where it was. */
function lastEventId(context: Context<AppEnv>): number | undefined {
  const text = context.req.header('last-event-id')
  if (text === undefined || text === '') return undefined
  if (!/^\d{1,15}$/.test(text))
    throw invalid([
      { type: 'int_parsing', loc: ['header', 'Last-Event-ID'], msg: 'must be the id of an event' },
    ])
  return Number(text)
}

function formatFrame(event: StoredEvent): string {
  return `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(formatEvent(event))}\n\n`
}

function formatEvent({ id, at, sandboxId, type, state, reason, message }: StoredEvent): SandboxEvent {
  return {
    id,
    at: formatTime(at),
    sandboxId,
    type,
    ...(state !== null && { state }),
    ...(reason !== null && { reason }),
    ...(message !== null && { message }),
  }
}
