// What the daemon tells while it makes an image: one JSON object a line, the last of which may say that it failed.

import type { Readable } from 'node:stream'
import { EngineRefusal } from '../engine.ts'

export type MakingEvent = {
  id?: string
  status?: string
  stream?: string
  error?: string
  progressDetail?: { current?: number; total?: number }
}

const MAX_LINE = 1 << 20

/** The events, one after the other. Throws EngineRefusal when the daemon says that it failed. */
export async function* readEvents(stream: Readable): AsyncGenerator<MakingEvent> {
  let rest = ''
  for await (const chunk of stream) {
    rest += String(chunk)
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > MAX_LINE) throw new Error('The Docker daemon sent a line without end')
    for (const line of lines) if (line.trim() !== '') yield read(line)
  }
  if (rest.trim() !== '') yield read(rest)
}

/** Reads a stream to its end, and gives the last event. */
export async function lastEvent(stream: Readable): Promise<MakingEvent> {
  let last: MakingEvent = {}
  for await (const event of readEvents(stream)) last = event
  return last
}

function read(line: string): MakingEvent {
  const event = JSON.parse(line) as MakingEvent
  if (event.error !== undefined) throw new EngineRefusal(500, event.error)
  return event
}
