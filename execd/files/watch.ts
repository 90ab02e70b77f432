// `GET /files/watch`, an addition: what happens to a directory as server-sent events, one JSON text per `data:` line, which
// EventSource and `curl -N` read alike. (The protocol's own streams have bare JSON, for clients of which this one has none.)

import { realpathSync, statSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import type { WatchEvent } from '../../lib/api/execd-files.ts'
import { ApiError } from '../../lib/errors.ts'
import { EVENT_STREAM_HEADERS } from '../../lib/sse.ts'
import { execdError, untilDrained } from '../http/answer.ts'
import type { EventBursts } from './event-bursts.ts'
import { whileWanted } from './gone.ts'
import { decodeName, nativePath } from './name.ts'
import { TreeWatch } from './tree-watch.ts'
import { Pace, type Turns } from './turns.ts'

const MAX_STREAMS = 64
/** So that who is between us and the client does not take silence for the end. */
const PING_MS = 10_000

/** What all watch streams share. */
export type Watching = { turns: Turns; bursts: EventBursts; streams: Set<TreeWatch> }

/** Answers with the changes below `path` until the client leaves. The first event says that from there on nothing is missed. */
export async function streamChanges(
  response: ServerResponse,
  path: string,
  { isRecursive, watching }: { isRecursive: boolean; watching: Watching },
): Promise<void> {
  const { turns, bursts, streams } = watching
  if (streams.size >= MAX_STREAMS)
    throw execdError('TOO_MANY', `There are already ${MAX_STREAMS} streams of changes`)
  await whileWanted(response, async (signal) => {
    signal.throwIfAborted()
    const isDirectory = statSync(nativePath(path), { throwIfNoEntry: false })?.isDirectory() ?? false
    // A directory is watched itself, whatever link has led to it; what is told begins as the client has asked.
    const place = isDirectory ? realPlace(path) : path
    const emit = (event: WatchEvent) => {
      const told =
        'path' in event && place !== path ? { ...event, path: path + event.path.slice(place.length) } : event
      response.write(`data: ${JSON.stringify(told)}\n\n`)
      return untilDrained(response)
    }
    const watch = new TreeWatch(place, isDirectory, {
      isRecursive,
      bursts,
      emit,
      pace: new Pace(turns, signal),
    })
    const close = () => watch.close()
    signal.addEventListener('abort', close)
    streams.add(watch)
    let pings: NodeJS.Timeout | undefined
    try {
      await watch.arm()
      response.writeHead(200, EVENT_STREAM_HEADERS)
      await emit({ type: 'watching', path: place.toWellFormed(), recursive: isRecursive && isDirectory })
      pings = setInterval(() => {
        if (!response.writableNeedDrain) response.write(': ping\n\n')
      }, PING_MS)
      const reason = await watch.run().catch((error: unknown) => {
        if (error instanceof ApiError) return error.message
        throw error
      })
      if (reason !== undefined) await emit({ type: 'end', reason })
      response.end()
    } finally {
      clearInterval(pings)
      signal.removeEventListener('abort', close)
      streams.delete(watch)
      watch.close()
    }
  })
}

function realPlace(path: string): string {
  return decodeName(realpathSync.native(nativePath(path), { encoding: 'buffer' }))
}
