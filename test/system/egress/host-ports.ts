// Ports of the machine that sandboxes must not reach, whatever address they use for it.

import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { type Arrivals, type Recorder, TOKEN_PREFIX } from './internet.ts'

/** One that the table dials; the others are those of daemons that a machine may have. */
export const HOST_PORT = 22_022
const PORTS = [22, 2375, HOST_PORT]
const TOKEN = new RegExp(`${TOKEN_PREFIX}(\\d+)x`, 'g')

/** Listens on all of them, TCP and UDP. */
export async function listenOnHost(): Promise<Recorder> {
  const seen: Arrivals = {}
  const note = (bytes: Buffer) => {
    for (const [, number = ''] of bytes.toString('latin1').toLowerCase().matchAll(TOKEN)) {
      seen[number] ??= { count: 0, first: Date.now() / 1000, last: 0 }
      const entry = seen[number]
      entry.count++
      entry.last = Date.now() / 1000
    }
  }
  const closers: (() => void)[] = []
  for (const port of PORTS) {
    const tcp = createServer((socket) => socket.on('data', note).on('error', () => socket.destroy()))
    await new Promise<void>((resolve) => tcp.listen(port, resolve))
    const udp = createSocket('udp4').on('message', note)
    await new Promise<void>((resolve) => udp.bind(port, resolve))
    closers.push(
      () => tcp.close(),
      () => udp.close(),
    )
  }
  return {
    read: async () => seen,
    close: () => {
      for (const close of closers) close()
    },
  }
}

/** What has arrived at any of them. */
export function mergeArrivals(...all: Arrivals[]): Arrivals {
  const merged: Arrivals = {}
  for (const arrivals of all)
    for (const [number, { count, first, last }] of Object.entries(arrivals)) {
      const before = merged[number]
      merged[number] = {
        count: count + (before?.count ?? 0),
        first: Math.min(first, before?.first ?? first),
        last: Math.max(last, before?.last ?? last),
      }
    }
  return merged
}
