// What follows a switch of protocols on a connection of HTTP/1: bytes in both directions, no faster than the slower side takes them.

import type { Socket } from 'node:net'
import { endAndLinger, type LingerLimits } from '../end-and-linger.ts'
import { writePiece } from '../write-piece.ts'
import type { Tally } from './exchange.ts'
import type { HeadedWriter } from './headed-writer.ts'

export type Tunnel = {
  client: Socket
  /** Writes to the client. */
  out: HeadedWriter
  server: Socket
  /** What the client has sent already. */
  first: Buffer
  tally: Tally
  /** Ends the client's connection so that it can tell that something is missing. */
  reset: () => void
  linger?: LingerLimits | undefined
}

/** How long a server may be silent once its client has said everything. */
const HALF_CLOSED_MS = 5 * 60_000

/** Passes on what comes; nobody else may listen to data or ends. Whoever closes the client's connection closes the server's. */
export function openTunnel({ client, out, server, first, tally, reset, linger }: Tunnel): void {
  const fromClient = (chunk: Buffer): void => {
    tally.bytesSent += chunk.length
    if (!writePiece(server, chunk)) client.pause()
  }
  const clientEnded = (): void => {
    server.end()
    server.setTimeout(HALF_CLOSED_MS, reset)
  }
  client
    .on('data', fromClient)
    .on('drain', () => server.resume())
    .on('end', clientEnded)
  server
    .on('data', (chunk: Buffer) => {
      tally.bytesReceived += chunk.length
      if (!out.write(chunk)) server.pause()
    })
    .on('drain', () => client.resume())
    .on('end', () => {
      // Nobody is there for what the client goes on sending.
      client.off('data', fromClient)
      endAndLinger(client, linger)
    })
    // Without a proper end the client must see that there is none.
    .on('close', () => {
      if (!server.readableEnded) reset()
    })
  if (first.length > 0) fromClient(first)
  if (client.readableEnded) clientEnded()
  if (!server.writableNeedDrain) client.resume()
}
