// After a 101 the two connections belong together and HTTP has ended: bytes go both ways until both sides have said their
// last, or one of them breaks. Each is read only as fast as the other takes it.

import type { ClientSocket } from '../decision/verdict.ts'
import type { Upstream } from './pool.ts'

/** When one side has ended, so long may the other be silent before both are closed. */
const HALF_CLOSED_TIMEOUT_MS = 5 * 60_000

/** Joins a client's socket, which nobody else listens to any more, and an upstream. `onClosed` is called once, at the end. */
export function splice(client: ClientSocket, upstream: Upstream, onClosed: () => void): void {
  const { socket } = upstream
  let isOver = false
  const finish = () => {
    if (isOver) return
    isOver = true
    onClosed()
  }
  const onWritten = () => {
    if (client.writableLength === 0) socket.resume()
  }
  upstream.user = {
    onUpstreamConnect: () => {},
    onUpstreamData: (chunk, isBorrowed) => {
      if (!isBorrowed) {
        if (!client.write(chunk)) socket.pause()
        return
      }
      client.write(chunk, onWritten)
      if (client.writableLength > 0) socket.pause()
    },
    onUpstreamDrain: () => client.resume(),
    onUpstreamEnd: () => endAfter(client),
    onUpstreamClose: (error) => {
      // Without an error it had ended, or was cut: then the client can no longer be served.
      if (error || !socket.readableEnded) client.destroy()
      else client.end()
      if (client.destroyed) finish()
    },
  }
  client
    .on('data', (chunk: Buffer) => {
      if (!socket.write(chunk)) client.pause()
    })
    .on('drain', () => socket.resume())
    .on('end', () => endAfter(socket))
    .on('close', () => {
      if (client.readableEnded && !client.errored) socket.end()
      else socket.destroy()
      finish()
    })
  if (client.destroyed) socket.destroy()
  client.resume()
  socket.resume()
}

function endAfter(socket: ClientSocket | Upstream['socket']): void {
  socket.end()
  socket.setTimeout(HALF_CLOSED_TIMEOUT_MS, () => socket.destroy())
}
