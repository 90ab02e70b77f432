// Connections of sandboxes to addresses that a name led to. The kernel leads them here instead of outside, or a proxy that their client has asked.

import { createServer, type Server, type Socket } from 'node:net'
import type { Logger } from '../../lib/log.ts'
import { ReadMemory } from '../../lib/read-memory.ts'
import { createRefusalLog } from '../refusal-log.ts'
import type { Sandboxes } from '../sandboxes.ts'
import type { BeginRelay, Destination } from './accepted.ts'
import { RelayedConnection, type RelayedOptions } from './relayed-connection.ts'

export type RelayOptions = Omit<RelayedOptions, 'sandboxes'> & {
  /** Asked for at each connection: the server must have its port before the rules, and so the sandboxes, can be. */
  sandboxes: () => Pick<Sandboxes, 'byAddress' | 'get' | 'decide'>
  log: Logger
  /** Instead of what the kernel says, for tests without one. */
  destinationOf?: (socket: Socket) => Destination
}

/** Relays one connection after the other, whoever has accepted them. */
export function createRelayer(options: RelayOptions): BeginRelay {
  const refusals = createRefusalLog(options.log, 'connection denied')
  const memory = new ReadMemory()
  return (accepted) => new RelayedConnection(options, { refusals, memory }, accepted).begin(accepted.first)
}

/** The server that the kernel's rules lead to; it is not listening yet. */
export function createRelay(options: RelayOptions, beginRelay = createRelayer(options)): Server {
  const { destinationOf = originalDestination } = options
  return createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const sandbox = options.sandboxes().byAddress(client.remoteAddress ?? '')
    client.on('error', () => client.destroy())
    if (sandbox) beginRelay({ client, sandbox, to: destinationOf(client) })
    else client.resetAndDestroy()
  })
}

/** What a client dialled: a transparent socket's own address is that of the other end of its client's connection. */
function originalDestination({ localAddress, localPort }: Socket): Destination {
  return { address: localAddress ?? '', port: localPort ?? 0 }
}
