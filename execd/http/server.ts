// The HTTP server of execd: how it listens, and what it takes from the wire before a route sees it.

import { createServer, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { messageOf, systemCodeOf } from '../../lib/errors.ts'
import { pause } from '../timer.ts'
import type { Router } from './router.ts'
import type { OpenSocket, SocketAddress } from './socket.ts'

const RETRY_MS = 10

export type Listening = {
  /** The port in use, for an address that said 0. */
  port: number
  /** The descriptor of the socket, for another process to hold. */
  socketFd: number | undefined
  /** Takes no new connections, and gives answers on their way the time to arrive. */
  close(graceMs: number): Promise<void>
}

export type ListenOptions = SocketAddress & {
  /** How long to try again while the port is taken: what is ending may still hold it. */
  patienceMs: number
  /** Without it, Node opens the socket. */
  openSocket?: OpenSocket
}

/** Starts serving. Rejects with a message for a person when it cannot listen. */
export async function listen(router: Router, options: ListenOptions): Promise<Listening> {
  const server = createServer(
    {
      keepAliveTimeout: 100_000,
      headersTimeout: 10_000,
      requestTimeout: 0,
      // Deletes and infos name many paths in one query.
      maxHeaderSize: 256 << 10,
      shouldUpgradeCallback: router.upgrades,
    },
    router.request,
  )
  server.on('upgrade', router.upgrade)
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  // Not by `performance`, which takes a millisecond of the start to load.
  const deadline = Date.now() + options.patienceMs
  while (true) {
    try {
      await listenOnce(server, options)
      break
    } catch (error) {
      if (systemCodeOf(error) === 'EADDRINUSE' && Date.now() < deadline) await pause(RETRY_MS)
      else
        throw new Error(`Cannot listen on ${options.host}:${options.port}: ${messageOf(error)}`, {
          cause: error,
        })
    }
  }
  return {
    port: portOf(server, options.port),
    socketFd: socketFdOf(server),
    close: async (graceMs) => {
      server.close()
      const end = Date.now() + graceMs
      while (sockets.size > 0 && Date.now() < end) {
        server.closeIdleConnections()
        await pause(RETRY_MS)
      }
    },
  }
}

function listenOnce(server: Server, { openSocket, host, port, isShared }: ListenOptions): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    const fd = openSocket?.({ host, port, isShared })
    server.once('error', reject)
    server.listen(fd === undefined ? { port, host, reusePort: isShared } : { fd }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function portOf(server: Server, asked: number): number {
  const address = server.address()
  return typeof address === 'object' && address ? address.port : asked
}

/** Node keeps it where its types do not tell of it; without it nobody else can hold the socket. */
function socketFdOf(server: Server): number | undefined {
  const fd = (server as Server & { _handle?: { fd?: unknown } })._handle?.fd
  return typeof fd === 'number' && fd >= 0 ? fd : undefined
}
