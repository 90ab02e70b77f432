// Event streams as the published clients read them: bare JSON and a blank line, no `data:` prefix (contract: execd.md 2.1).
// One of the clients splits lines at U+0085, U+2028 and U+2029 too, which JSON leaves as they are, so these are escaped.

export const EVENT_STREAM_HEADERS = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-cache',
  'X-Accel-Buffering': 'no',
} as const

const LINE_BREAKS = /[\u0085\u2028\u2029]/g

/** One event as it goes on the wire. */
export function formatEvent(event: object): string {
  return `${escapeLineBreaks(JSON.stringify(event))}\n\n`
}

/** Escapes in JSON what JSON leaves as it is and clients take for the end of a line. */
export function escapeLineBreaks(json: string): string {
  return json.replace(LINE_BREAKS, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
