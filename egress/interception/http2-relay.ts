// One connection of a client that speaks HTTP/2: each stream is judged by itself and goes on as a stream of the server's connection, with its
// trailers and without waiting for its end, as gRPC needs it.

import type { Duplex } from 'node:stream'
import { Http2Connection } from '../http2/connection.ts'
import type { Relaying } from './exchange.ts'
import { Http2Exchange } from './http2-exchange.ts'

export type Http2RelayOptions = Relaying & {
  client: Duplex
  /** A connection of the server. Rejects with an UpstreamError. */
  open: () => Http2Connection | Promise<Http2Connection>
  /** How long a client may be silent with no request under way. */
  requestMs?: number
  /** What it may send ahead of the server's reading, of one body. */
  windowBytes?: number
}

/** As long as servers wait for the next request. */
const REQUEST_MS = 75_000

/** Reads requests until the client ends its connection. */
export function relayHttp2(options: Http2RelayOptions): Http2Connection {
  const { client, requestMs = REQUEST_MS, windowBytes, stalls } = options
  return new Http2Connection({
    socket: client,
    serve: () => new Http2Exchange(options),
    idleMs: requestMs,
    stalls,
    ...(windowBytes !== undefined && { windowBytes }),
  })
}
