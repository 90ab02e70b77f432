// After a 101 the two connections belong together and HTTP has ended: bytes go both ways until both sides have said their
// last, or one of them breaks.

import type { Socket } from 'node:net'

/** When one side has ended, so long may the other be silent before both are closed. */
const HALF_CLOSED_TIMEOUT_MS = 5 * 60_000

/** Joins two sockets that nobody else listens to. `onClosed` is called once, when both are gone. */
export function splice(a: Socket, b: Socket, onClosed: () => void): void {
  let open = 2
  const close = () => {
    if (--open === 0) onClosed()
  }
  join(a, b, close)
  join(b, a, close)
  a.resume()
  b.resume()
}

function join(from: Socket, to: Socket, onClosed: () => void): void {
  from.on('data', (chunk: Buffer) => {
    if (!to.write(chunk)) from.pause()
  })
  to.on('drain', () => from.resume())
  from.on('end', () => {
    to.end()
    to.setTimeout(HALF_CLOSED_TIMEOUT_MS, () => to.destroy())
  })
  // Without an error both had ended, or this side was cut: then the other can no longer be served.
  from.on('close', (hadError: boolean) => {
    if (hadError || !from.readableEnded) to.destroy()
    else to.end()
    onClosed()
  })
  // The destruction that follows tells the other side; the text of the error says nothing more.
  from.on('error', () => {})
  if (from.destroyed) {
    to.destroy()
    onClosed()
  }
}
