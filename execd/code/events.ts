// Events of cells as events of a stream (contract: execd.md 2.2, 2.3): an error has a `status` before it, plain text stands
// under two names, all values are texts, and no line is longer than every client can read.

import type { StreamEvent } from '../../lib/api/execd.ts'
import type { CellEvent } from './engine.ts'

/** In UTF-16 units; a control character takes six bytes in JSON, and a client stops at 4 MiB. */
const MAX_OUTPUT = 512 << 10
const MAX_RESULT_BYTES = 3 << 20
/** Plain text is sent twice. */
const MAX_PLAIN_BYTES = 768 << 10
const MAX_MESSAGE = 128 << 10
const MAX_TRACEBACK_BYTES = 1 << 20

/** What clients are sent of an event. */
export function toStreamEvents(event: CellEvent, timestamp: number): StreamEvent[] {
  switch (event.type) {
    case 'stdout':
    case 'stderr':
      return cut(event.text, MAX_OUTPUT).map((text) => ({ type: event.type, text, timestamp }))
    case 'execution_count':
      return event.count > 0 ? [{ type: 'execution_count', execution_count: event.count, timestamp }] : []
    case 'result':
      return [{ type: 'result', results: toWireResults(event.results), timestamp }]
    case 'error': {
      const { ename, evalue, traceback } = event.error
      const error = {
        ename: shorten(ename.toWellFormed(), MAX_MESSAGE) || 'Error',
        evalue: shorten(evalue.toWellFormed(), MAX_MESSAGE),
        traceback: boundLines(traceback),
      }
      return [
        { type: 'status', text: 'error', timestamp },
        { type: 'error', timestamp, error },
      ]
    }
  }
}

/** Plain text under both of its names; what is too long is cut when it is plain text, and else left out and told of there. */
export function toWireResults(results: Record<string, string>): Record<string, string> {
  const { 'text/plain': plain = '', ...others } = results
  let room = MAX_RESULT_BYTES
  const kept: Record<string, string> = {}
  const notes: string[] = []
  const text = shortenJson(plain.toWellFormed(), MAX_PLAIN_BYTES)
  room -= 2 * jsonBytes(text)
  for (const [mime, value] of Object.entries(others)) {
    const wellFormed = value.toWellFormed()
    const bytes = jsonBytes(wellFormed)
    if (bytes > room) {
      notes.push(`[${mime} with ${bytes} bytes is left out, as a result can have ${MAX_RESULT_BYTES}]`)
      continue
    }
    room -= bytes
    kept[mime] = wellFormed
  }
  const all = [...(text === '' ? [] : [text]), ...notes].join('\n')
  return all === '' && Object.keys(kept).length > 0 ? kept : { text: all, 'text/plain': all, ...kept }
}

/** Pieces of at most `length` units, none of which ends within a character. Nothing for an empty text. */
function cut(text: string, length: number): string[] {
  const whole = text.toWellFormed()
  const pieces: string[] = []
  for (let start = 0; start < whole.length; ) {
    let end = Math.min(start + length, whole.length)
    if (end < whole.length && isHighSurrogate(whole.charCodeAt(end - 1))) end--
    pieces.push(whole.slice(start, end))
    start = end
  }
  return pieces
}

function boundLines(lines: string[]): string[] {
  const kept: string[] = []
  let room = MAX_TRACEBACK_BYTES
  for (const line of lines) {
    const text = shorten(line.toWellFormed(), MAX_MESSAGE)
    room -= jsonBytes(text)
    if (room < 0) return [...kept, `… (${lines.length - kept.length} lines more)`]
    kept.push(text)
  }
  return kept
}

function shortenJson(text: string, maxBytes: number): string {
  let length = text.length
  let short = text
  while (jsonBytes(short) > maxBytes) {
    length = Math.floor(length / 2)
    short = shorten(text, length)
  }
  return short
}

function shorten(text: string, length: number): string {
  if (text.length <= length) return text
  const end = length > 0 && isHighSurrogate(text.charCodeAt(length - 1)) ? length - 1 : length
  return `${text.slice(0, end)}… (${text.length - end} characters more)`
}

function jsonBytes(text: string): number {
  // Cheap for what is short anyway.
  return text.length < 1000 ? text.length * 6 : Buffer.byteLength(JSON.stringify(text))
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00
}
