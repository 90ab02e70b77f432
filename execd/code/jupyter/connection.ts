// One kernel's WebSocket. It is watched by pings, because a connection that broke without a word looks like a kernel that
// thinks; and it can be held back, so that a client that reads slowly costs no memory.

import { WebSocket } from 'ws'

const PING_MS = 10_000
const CLOSE_MS = 1000
/** The largest message. What is larger breaks the connection, not execd. */
export const MAX_MESSAGE_BYTES = 64 << 20

export type Connection = {
  send(text: string): void
  /** Until `resume` no more messages are read, nor pings answered. */
  pause(): void
  resume(): void
  /** Resolves with why it ended. */
  closed: Promise<Closed>
  close(): void
}

export type Closed = { reason: string; tooLarge: boolean }

export type ConnectionOptions = {
  url: string
  headers: Record<string, string>
  signal: AbortSignal
  onMessage(frame: Buffer, isBinary: boolean): void
}

/** Opens a WebSocket. A server may answer only once the kernel is there, so `signal` says how long that may take. */
export function openConnection({ url, headers, signal, onMessage }: ConnectionOptions): Promise<Connection> {
  signal.throwIfAborted()
  const socket = new WebSocket(url, {
    headers,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
    skipUTF8Validation: true,
  })
  let failure: Error | undefined
  let isAnswered = true
  const watch = setInterval(() => {
    if (socket.isPaused) return
    if (!isAnswered) {
      failure ??= new Error(`no answer to a ping for ${PING_MS / 1000} s`)
      return socket.terminate()
    }
    isAnswered = false
    if (socket.readyState === WebSocket.OPEN) socket.ping()
  }, PING_MS)
  socket.on('pong', () => {
    isAnswered = true
  })
  // The server holds a small message back until the one before it is acknowledged, and our kernel takes 40 ms to do so by
  // itself, but does it at once with anything that we send. A pong that nobody asked for means nothing else.
  let isAcknowledging = false
  const acknowledge = () => {
    if (isAcknowledging) return
    isAcknowledging = true
    setImmediate(() => {
      isAcknowledging = false
      if (socket.readyState === WebSocket.OPEN) socket.pong()
    })
  }
  socket.on('message', (data: Buffer, isBinary: boolean) => {
    isAnswered = true
    acknowledge()
    onMessage(data, isBinary)
  })
  // Closing follows, with this as its reason.
  socket.on('error', (error) => {
    failure ??= error
  })
  const closed = new Promise<Closed>((resolve) =>
    socket.once('close', (code, reason) => {
      clearInterval(watch)
      const said = failure?.message ?? (reason.toString('utf8') || `closed with code ${code}`)
      resolve({ reason: said, tooLarge: code === 1009 || isTooLarge(failure) })
    }),
  )

  return new Promise((resolve, reject) => {
    const onAbort = () => socket.terminate()
    signal.addEventListener('abort', onAbort, { once: true })
    socket.once('open', () => {
      signal.removeEventListener('abort', onAbort)
      resolve({
        send: (text) => socket.send(text),
        pause: () => socket.pause(),
        resume: () => {
          // Pongs waited behind the messages that were held back.
          isAnswered = true
          socket.resume()
        },
        closed,
        close: () => {
          socket.close(1000)
          setTimeout(() => socket.terminate(), CLOSE_MS).unref()
        },
      })
    })
    void closed.then(({ reason }) => {
      signal.removeEventListener('abort', onAbort)
      reject(signal.aborted ? signal.reason : new Error(reason, { cause: failure }))
    })
  })
}

function isTooLarge(error: Error | undefined): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'
}
