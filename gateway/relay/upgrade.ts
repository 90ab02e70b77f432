// After a 101 the two connections belong together and HTTP has ended: bytes go both ways until both sides have said their
// last, or one of them breaks. Each is read only as fast as the other takes it. Tens of thousands may be open and silent, so one
// holds as little as it can.

import type { ChunkMemory } from '../../lib/read-memory.ts'
import type { ClientSocket } from '../decision/verdict.ts'
import type { ByteMeter } from './byte-meter.ts'
import type { Upstream, UpstreamUser } from './upstream.ts'

/** When one side has ended, so long may the other be silent before both are closed. */
const HALF_CLOSED_TIMEOUT_MS = 5 * 60_000

export type SpliceOptions = {
  /** Nobody else listens to it any more. */
  client: ClientSocket
  upstream: Upstream
  meter: ByteMeter
  /** Is called once, at the end. */
  onClosed: () => void
}

/** Joins a client's socket and an upstream. */
export function splice(options: SpliceOptions): void {
  new Splice(options).begin()
}

class Splice implements UpstreamUser {
  readonly #client: ClientSocket
  readonly #upstream: Upstream
  readonly #meter: ByteMeter
  #onClosed: (() => void) | undefined

  constructor({ client, upstream, meter, onClosed }: SpliceOptions) {
    this.#client = client
    this.#upstream = upstream
    this.#meter = meter
    this.#onClosed = onClosed
  }

  begin(): void {
    const client = this.#client
    const { socket } = this.#upstream
    this.#upstream.user = this
    client
      .on('data', (chunk: Buffer) => {
        this.#meter.bytesIn += chunk.length
        if (!socket.write(chunk)) client.pause()
      })
      .on('drain', () => socket.resume())
      .on('end', () => endAfter(socket))
      .on('close', () => this.#onClientClose())
    if (client.destroyed) socket.destroy()
    client.resume()
    socket.resume()
  }

  onUpstreamConnect(): void {}

  onUpstreamData(chunk: Buffer, memory: ChunkMemory): void {
    const client = this.#client
    const { socket } = this.#upstream
    this.#meter.bytesOut += chunk.length
    if (memory !== 'lent') {
      if (!client.write(memory === 'shared' ? Buffer.from(chunk) : chunk)) socket.pause()
      return
    }
    client.write(chunk, () => {
      if (client.writableLength === 0) socket.resume()
    })
    if (client.writableLength > 0) socket.pause()
  }

  onUpstreamDrain(): void {
    this.#client.resume()
  }

  onUpstreamEnd(): void {
    endAfter(this.#client)
  }

  onUpstreamClose(error: Error | undefined): void {
    const client = this.#client
    // Without an error it had ended, or was cut: then the client can no longer be served.
    if (error || !this.#upstream.socket.readableEnded) client.destroy()
    else client.end()
    if (client.destroyed) this.#finish()
  }

  #onClientClose(): void {
    const { socket } = this.#upstream
    if (this.#client.readableEnded && !this.#client.errored) socket.end()
    else socket.destroy()
    this.#finish()
  }

  #finish(): void {
    const onClosed = this.#onClosed
    this.#onClosed = undefined
    onClosed?.()
  }
}

function endAfter(socket: ClientSocket | Upstream['socket']): void {
  socket.end()
  socket.setTimeout(HALF_CLOSED_TIMEOUT_MS, () => socket.destroy())
}
