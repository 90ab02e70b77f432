// One stream of events to one client. The status goes out with the first event, so what fails before it is an ordinary
// error answer. A client that leaves is not an error: from then on events go nowhere, and nothing waits for it.

import type { ServerResponse } from 'node:http'
import type { StreamError, StreamEvent } from '../../lib/api/execd.ts'
import { EVENT_STREAM_HEADERS, escapeLineBreaks, formatEvent } from '../../lib/sse.ts'
import type { Line } from '../lines.ts'
import { untilDrained } from './answer.ts'
import { markFailed } from './outcome.ts'

const PING_MS = 3000

export class EventStream {
  readonly #response: ServerResponse
  #pings: NodeJS.Timeout | undefined

  constructor(response: ServerResponse) {
    this.#response = response
  }

  /** Begins the stream: `init` with the id that the client will use, and the first ping. */
  begin(id: string, more: { execution_id?: string } = {}): void {
    this.#response.writeHead(200, EVENT_STREAM_HEADERS)
    const timestamp = Date.now()
    this.#write(
      formatEvent({ type: 'init', text: id, timestamp, ...more } satisfies StreamEvent) +
        formatEvent({ type: 'ping', text: 'pong', timestamp } satisfies StreamEvent),
    )
    this.#pings = setInterval(() => {
      // A client that does not read needs no ping to know that we are there.
      if (!this.#response.writableNeedDrain)
        this.#write(formatEvent({ type: 'ping', text: 'pong', timestamp: Date.now() } satisfies StreamEvent))
    }, PING_MS)
    this.#response.once('close', () => clearInterval(this.#pings))
  }

  /** Whether nobody hears any more what is sent. */
  get isOver(): boolean {
    return this.#response.destroyed || this.#response.writableEnded
  }

  /** Sends one event per line, in one write. False asks to hold back until `drained` resolves. */
  output(type: 'stdout' | 'stderr', lines: Line[]): boolean {
    if (lines.length === 0) return true
    // Put together by hand: of a flood of short lines, this is half of all the work.
    const begin = `{"type":"${type}","text":`
    const end = `,"timestamp":${Date.now()}}\n\n`
    let frames = ''
    for (const line of lines)
      frames +=
        typeof line === 'string'
          ? begin + JSON.stringify(line) + end
          : `${begin}${JSON.stringify(line.text)},"bytes_base64":"${line.base64}"${end}`
    return this.#write(escapeLineBreaks(frames))
  }

  /** Sends events in one write. False asks to hold back until `drained` resolves. */
  send(events: StreamEvent[]): boolean {
    if (events.some(({ type }) => type === 'error')) markFailed(this.#response)
    return events.length === 0 || this.#write(events.map(formatEvent).join(''))
  }

  /** Resolves when the client has taken what was sent, or has left. */
  drained(): Promise<void> {
    return untilDrained(this.#response)
  }

  complete(durationMs: number): void {
    this.#end({ type: 'execution_complete', execution_time: Math.round(durationMs), timestamp: Date.now() })
  }

  fail(error: StreamError): void {
    markFailed(this.#response)
    this.#end({ type: 'error', timestamp: Date.now(), error })
  }

  #end(event: StreamEvent): void {
    clearInterval(this.#pings)
    if (!this.#response.destroyed) this.#response.end(formatEvent(event))
  }

  #write(text: string): boolean {
    return this.isOver || this.#response.write(text)
  }
}
