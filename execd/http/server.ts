// The HTTP server of execd: how it listens, and what it takes from the wire before a route sees it.

import { createServer, type Server } from 'node:http'
import { messageOf } from '../../lib/errors.ts'
import type { Router } from './router.ts'

export type Listening = {
  /** The port in use, for an address that said 0. */
  port: number
  /** Takes no new connections and closes those that are idle. */
  close(): void
}

/** Starts serving. Rejects with a message for a person when it cannot listen. */
export async function listen(router: Router, address: { host: string; port: number }): Promise<Listening> {
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
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new Error(`Cannot listen on ${address.host}:${address.port}: ${messageOf(error)}`, { cause: error }),
      ),
    )
    server.listen(address.port, address.host, resolve)
  })
  return {
    port: portOf(server, address.port),
    close: () => {
      server.close()
      server.closeIdleConnections()
    },
  }
}

function portOf(server: Server, asked: number): number {
  const address = server.address()
  return typeof address === 'object' && address ? address.port : asked
}
