// A connection to the queue of renew intents, and what stands in it. The client's types stop here.

import { messageOf } from './errors.ts'
import { isRecord } from './is-record.ts'
import type { Logger } from './log.ts'

export type RenewIntent = { sandbox_id: string; observed_at: string; port?: number }

export type RenewQueue = {
  /** Puts intents before all others, and forgets the oldest beyond `maxLength`, when that is not 0. */
  push(texts: readonly string[], maxLength: number): Promise<void>
  /** The oldest, or undefined when none has come for so many seconds. */
  pop(seconds: number): Promise<string | undefined>
  close(): void
}

export type RenewQueueOptions = { dsn: string; key: string; log: Logger }

/** Nothing of a dead connection is waited for longer. */
const TIMEOUT_MS = 5000
const LONGEST_PAUSE_MS = 5000

/** Connects in the background and again whenever the connection is lost; calls reject meanwhile. */
export async function openRenewQueue({ dsn, key, log }: RenewQueueOptions): Promise<RenewQueue> {
  // Nearly 500 modules, for the few who have such a queue.
  const { createClient } = await import('@redis/client')
  let isAway = false
  const client = createClient({
    url: dsn,
    // What is asked while there is no connection fails at once, and is not kept for later.
    disableOfflineQueue: true,
    commandsQueueMaxLength: 1024,
    socket: {
      connectTimeout: TIMEOUT_MS,
      reconnectStrategy: (tries) => Math.min(100 * 2 ** tries, LONGEST_PAUSE_MS),
    },
  })
  client.on('error', (error: unknown) => {
    if (!isAway) log.warn('the queue of renew intents cannot be reached', { error: messageOf(error) })
    isAway = true
  })
  client.on('ready', () => {
    log.info('the queue of renew intents is connected')
    isAway = false
  })
  // It goes on trying by itself; what went wrong was told above.
  client.connect().catch(() => {})
  return {
    async push(texts, maxLength) {
      const commands = client.multi().lPush(key, [...texts])
      if (maxLength > 0) commands.lTrim(key, 0, maxLength - 1)
      await commands.execAsPipeline()
    },
    pop: async (seconds) => (await client.brPop(key, seconds))?.element,
    close: () => client.destroy(),
  }
}

/** RFC 3339 in UTC, to the millisecond. */
export function formatIntent(id: string, at: number, port?: number): string {
  const intent: RenewIntent = {
    sandbox_id: id,
    observed_at: new Date(at).toISOString(),
    ...(port !== undefined && { port }),
  }
  return JSON.stringify(intent)
}

/** When which sandbox had traffic, in milliseconds since 1970; undefined when it is no intent. */
export function parseIntent(text: string): { id: string; at: number } | undefined {
  let intent: unknown
  try {
    intent = JSON.parse(text)
  } catch {
    return undefined // whoever else writes into the queue is not ours to judge
  }
  if (!isRecord(intent)) return undefined
  const { sandbox_id: id, observed_at: observed } = intent
  if (typeof id !== 'string' || id.trim() === '' || typeof observed !== 'string') return undefined
  const match = /^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?$/i.exec(observed)
  // More digits than milliseconds are cut off, and a time without a zone is one of UTC.
  const at =
    match && Date.parse(`${match[1]?.replace(' ', 'T')}${(match[2] ?? '').slice(0, 4)}${match[3] ?? 'Z'}`)
  return at === null || Number.isNaN(at) ? undefined : { id: id.trim(), at }
}
