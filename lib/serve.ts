// Serving a fetch handler on a TCP port or a Unix socket, and stopping it without cutting running work short.

import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { getRequestListener, RequestError } from '@hono/node-server'
import { isListening } from './run-dir.ts'

export type ListenAddress = { host: string; port: number } | { socketPath: string }

export type ServeOptions = {
  fetch: (request: Request, env?: unknown) => Response | Promise<Response>
  listen: ListenAddress
  /** Ends the server when it aborts: no new connections, running requests get `drainMs` to finish. */
  signal: AbortSignal
  drainMs?: number
  /** Idle keep-alive. Longer than the SDKs keep theirs (95 s), so that the client is the one to close (clients.md). */
  keepAliveMs?: number
  headersTimeoutMs?: number
  /** Called with each server before it listens, for `upgrade` handlers. */
  prepare?: (server: Server) => void
}

export type Serving = {
  server: Server
  /** The port in use, 0 for a Unix socket. */
  port: number
  /** Resolves when the server has stopped. */
  closed: Promise<void>
}

/**
 * Starts serving and resolves once it listens. A Unix socket is made with mode 0600; a stale one is replaced, a live one
 * refused with EADDRINUSE.
 */
export async function serve(options: ServeOptions): Promise<Serving> {
  const { listen, signal, drainMs = 3000, keepAliveMs = 100_000, headersTimeoutMs = 10_000 } = options
  const server = createServer(
    {
      keepAliveTimeout: keepAliveMs,
      headersTimeout: headersTimeoutMs,
      connectionsCheckingInterval: 1000,
      requestTimeout: 0,
    },
    // By default it swaps the global Request and Response, which are others' too.
    getRequestListener(options.fetch, { overrideGlobalObjects: false, errorHandler: answerFault }),
  )
  options.prepare?.(server)
  // A connection that was upgraded is not the server's any more, and still keeps it from closing.
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  if ('socketPath' in listen) await removeStaleSocket(listen.socketPath)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen('socketPath' in listen ? { path: listen.socketPath } : listen, () => {
      server.off('error', reject)
      resolve()
    })
  })
  if ('socketPath' in listen) chmodSync(listen.socketPath, 0o600)
  const address = server.address()
  const closed = new Promise<void>((resolve) => server.once('close', () => resolve()))
  const stop = () => {
    server.close()
    server.closeIdleConnections()
    const timer = setTimeout(() => {
      for (const socket of sockets) socket.destroy()
    }, drainMs)
    void closed.then(() => clearTimeout(timer))
  }
  if (signal.aborted) stop()
  else signal.addEventListener('abort', stop, { once: true })
  return { server, port: typeof address === 'object' && address ? address.port : 0, closed }
}

// A request that no Request can be made of, such as one with a Host that is no host. An error's body is never empty
// (clients.md rule 8).
function answerFault(error: unknown): Response {
  const isRequest = error instanceof RequestError
  const body = isRequest
    ? { code: 'GENERAL::BAD_REQUEST', message: 'The request line or the Host header is not valid' }
    : { code: 'GENERAL::UNKNOWN_ERROR', message: 'Something went wrong' }
  return Response.json(body, { status: isRequest ? 400 : 500 })
}

async function removeStaleSocket(path: string): Promise<void> {
  if (await isListening(path))
    throw Object.assign(new Error(`Cannot listen on "${path}" as another program does`), {
      code: 'EADDRINUSE',
    })
  rmSync(path, { force: true })
}
