// One connection to a sandbox, or to control: whoever uses it at the moment hears from it.

import { connect, type Socket } from 'node:net'
import { cutOff } from '../../lib/cut-off.ts'
import type { ChunkMemory, ChunkReader, ReadMemory } from '../../lib/read-memory.ts'
import type { H2cSessions } from './h2c-sessions.ts'
import { H2cSocket } from './h2c-socket.ts'

export type Target = {
  /** Names the place and the sandbox's life: only what has the same key shares connections. */
  key: string
  /** The sandbox's id, or empty for control: what is cut together. */
  group: string
  connect: { host: string; port: number } | { path: string }
  /** HTTP/2 is spoken there, without TLS. */
  isH2c?: boolean
}

/** What uses a connection at the moment hears from it. */
export type UpstreamUser = {
  onUpstreamConnect(): void
  onUpstreamData(chunk: Buffer, memory: ChunkMemory): void
  onUpstreamDrain(): void
  /** The other side has sent its last byte. */
  onUpstreamEnd(): void
  onUpstreamClose(error: Error | undefined): void
}

export type UpstreamDeps = {
  memory: ReadMemory
  sessions: H2cSessions
  onClose: (upstream: Upstream) => void
}

/** Many servers close idle connections after 5 s without saying so, some after 2 s. */
const IDLE_REPEATABLE_MS = 4000
const IDLE_OTHERWISE_MS = 1500
/** A server that names its time is believed, less this margin for what is on its way. */
const ANNOUNCED_MARGIN_MS = 1000
const LONGEST_IDLE_MS = 90_000
export const STREAM_BUFFER_BYTES = 256 * 1024

const SOCKET_OPTIONS = {
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: 30_000,
  allowHalfOpen: true,
  highWaterMark: STREAM_BUFFER_BYTES,
}

export class Upstream {
  readonly target: Target
  readonly socket: Socket | H2cSocket
  user: UpstreamUser | undefined
  connected = false
  /** Whether it has served a request before. */
  reused = false
  idleSince = 0
  /** How long it may be idle, as the server announced; 0 when it did not. */
  announcedMs = 0
  /** Gives its place back that it takes of what its client may have; called once, when its request is over. */
  leave: (() => void) | undefined
  #error: Error | undefined
  readonly #reader: ChunkReader

  constructor(target: Target, { memory, sessions, onClose }: UpstreamDeps) {
    this.target = target
    this.#reader = memory.readerFor(target.group, (chunk, whose) => this.#read(chunk, whose))
    this.socket = target.isH2c ? this.#openStream(sessions) : this.#connect()
    this.#listen(onClose)
  }

  #connect(): Socket {
    return connect({ ...this.target.connect, ...SOCKET_OPTIONS, onread: this.#reader.onread })
  }

  #openStream(sessions: H2cSessions): H2cSocket {
    return new H2cSocket(sessions.open(this.target), STREAM_BUFFER_BYTES).on('data', (chunk: Buffer) =>
      this.#read(chunk, 'given'),
    )
  }

  #listen(onClose: (upstream: Upstream) => void): void {
    this.socket
      .on('connect', () => {
        this.connected = true
        this.user?.onUpstreamConnect()
      })
      .on('end', () => {
        if (this.user) this.user.onUpstreamEnd()
        else this.socket.destroy()
      })
      .on('drain', () => this.user?.onUpstreamDrain())
      .on('error', (error: Error) => {
        this.#error = error
      })
      .on('close', () => {
        this.#reader.close()
        onClose(this)
        const { user } = this
        this.user = undefined
        user?.onUpstreamClose(this.#error)
      })
  }

  /** Its request is over. */
  rest(): void {
    this.user = undefined
    this.giveBack()
    this.#reader.rest()
  }

  /** Ends it for a sandbox that is no longer there. */
  cutOff(): void {
    const { socket, target } = this
    // A socket of egress is nobody else's later, and has no reset.
    if (socket instanceof H2cSocket || 'path' in target.connect) socket.destroy()
    else cutOff(socket)
  }

  giveBack(): void {
    const { leave } = this
    this.leave = undefined
    leave?.()
  }

  #read(chunk: Buffer, memory: ChunkMemory): void {
    // An idle connection has nothing to say.
    if (this.user) this.user.onUpstreamData(chunk, memory)
    else this.socket.destroy()
  }

  mayServe(repeatable: boolean, now: number): boolean {
    const { socket, announcedMs } = this
    if (socket.destroyed || socket.readableEnded || !socket.writable) return false
    const longest =
      announcedMs > 0
        ? Math.min(announcedMs - ANNOUNCED_MARGIN_MS, LONGEST_IDLE_MS)
        : repeatable
          ? IDLE_REPEATABLE_MS
          : IDLE_OTHERWISE_MS
    return now - this.idleSince <= longest
  }
}
