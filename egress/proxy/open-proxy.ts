// The proxy's door: opened before the packet rules are made, which lead to it only when it is ours, and served once there is something
// to serve.

import { createServer, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'

/** Under this name the gateway's address is found from within sandboxes, so that nobody has to look it up. */
export const PROXY_NAME = 'proxy.opensandbox.internal'

export type OpenProxy = {
  /** Absent when there is none. */
  port?: number
  serve(client: (socket: Socket) => void): void
  close(): void
}

const OWN_MS = 1000

/**
 * Listens where sandboxes can reach it. When another program has the port there is no proxy, with a line in the log; everything else
 * there is all the same.
 */
export async function openProxy({
  address,
  port,
  log,
}: {
  address: string
  port: number | undefined
  log: Logger
}): Promise<OpenProxy> {
  if (port === undefined) return { serve: () => {}, close: () => {} }
  let serve: ((socket: Socket) => void) | undefined
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    if (serve) serve(socket)
    else socket.resetAndDestroy()
  })
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host: address, port }, () => {
        server.off('error', reject)
        resolve()
      })
    })
  } catch (error) {
    const what = { address, port, error: messageOf(error) }
    log.warn('there is no proxy for sandboxes: set egress.proxy.port to a free port', what)
    return { serve: () => {}, close: () => {} }
  }
  server.on('error', (error) => log.warn('the proxy', { error: messageOf(error) }))
  const bound = server.address()
  return {
    port: typeof bound === 'object' && bound ? bound.port : port,
    serve(client) {
      serve = client
    },
    close: () => void server.close(),
  }
}

/** Tells the addresses of this machine from others. They change when it moves, and are looked up once a second at most. */
export function createOwnAddresses(now: () => number = Date.now): (address: string) => boolean {
  let known = new Set<string>()
  let readAt = Number.NEGATIVE_INFINITY
  return (address) => {
    if (now() - readAt > OWN_MS) {
      const interfaces = Object.values(networkInterfaces()).flat()
      known = new Set(interfaces.map((each) => each?.address ?? ''))
      readAt = now()
    }
    return known.has(address)
  }
}
