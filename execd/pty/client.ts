// One WebSocket connection to a session. It has a position in the session's output and sends from there as fast as its client
// takes it. A client that has fallen behind by more than is kept skips to what there is, in a replay frame that says where that
// begins: what a client of the contract makes of such a frame is right here too.

import type { Socket } from 'node:net'
import type { RawData, WebSocket } from 'ws'
import type { PtyClientFrame, PtyServerFrame } from '../../lib/api/execd-pty.ts'
import { messageOf } from '../../lib/errors.ts'
import { formatOutput, formatReplay, formatText, parseBinary, parseText } from './frames.ts'
import type { ReplayBuffer } from './replay.ts'

const MAX_FRAME_BYTES = 32 << 10
/** With more than this on its way, a client has to take some of it first. */
const MAX_SENDING_BYTES = 256 << 10
/** A client that asks and asks and reads no answer. Above a whole replay with what else may be on its way. */
const MAX_UNREAD_BYTES = 4 << 20

export type ClientTimes = {
  /** Between two pings of ours. */
  pingMs: number
  /** A client that says nothing for so long, or takes nothing of what it is sent, is gone. */
  silenceMs: number
}

export type ClientRole = 'holder' | 'viewer'

export type ClientFrame = PtyClientFrame | { type: 'input'; bytes: Buffer }

/** What the session hears of a connection. */
export type ClientEvents = {
  frame(frame: ClientFrame): void
  /** The client has taken what was on its way. */
  taken(): void
  /** Once, whoever closed it. */
  closed(): void
}

export class Client {
  readonly #ws: WebSocket
  readonly #replay: ReplayBuffer
  readonly #events: ClientEvents
  readonly #times: ClientTimes
  readonly #ticks: NodeJS.Timeout
  /** Undefined until `begin`. */
  #position: number | undefined
  // Both are counted by our own pings, and not read from a clock: while the sandbox is paused, nobody could have said or taken anything.
  #silentMs = 0
  /** How long it has more on its way than it takes; undefined when it has not. */
  #waitingMs: number | undefined
  #isClosed = false

  constructor(options: {
    ws: WebSocket
    socket: Socket
    replay: ReplayBuffer
    events: ClientEvents
    times: ClientTimes
  }) {
    this.#ws = options.ws
    this.#replay = options.replay
    this.#events = options.events
    this.#times = options.times
    const { ws, socket } = options
    ws.on('message', (data: RawData, isBinary: boolean) => this.#hear(() => this.#read(data, isBinary)))
    ws.on('ping', () => this.#hear())
    ws.on('pong', () => this.#hear())
    // A frame that breaks the protocol, or is too large; the connection is being closed with a code that says so.
    ws.on('error', () => {})
    ws.on('close', () => this.#leave())
    socket.on('drain', () => {
      this.#waitingMs = undefined
      this.pump()
      if (!this.#isClosed) this.#events.taken()
    })
    this.#ticks = setInterval(() => this.#tick(), options.times.pingMs)
  }

  get hasBegun(): boolean {
    return this.#position !== undefined
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Whether it has more on its way than it takes at the moment. */
  get isWaiting(): boolean {
    return this.#waitingMs !== undefined
  }

  /** Begins at `since` with a replay of what there still is from there on. */
  begin(since: number): void {
    const from = since < this.#replay.start ? this.#replay.safeStart() : since
    if (from < this.#replay.end) this.#sendBinary(formatReplay(this.#replay, from))
    this.#position = this.#replay.end
  }

  /** Sends what there is, as much as the client takes. */
  pump(limitBytes = MAX_SENDING_BYTES): void {
    while (!this.#isClosed && this.#position !== undefined && this.#position < this.#replay.end) {
      if (this.#ws.bufferedAmount >= limitBytes) {
        this.#waitingMs ??= 0
        return
      }
      if (this.#position < this.#replay.start) {
        this.begin(this.#position)
        continue
      }
      const { stream, bytes } = this.#replay.read(this.#position, MAX_FRAME_BYTES)
      this.#position += bytes.length
      this.#sendBinary(formatOutput(stream, bytes))
    }
  }

  send(frame: PtyServerFrame): void {
    if (this.#isClosed || !this.#checkUnread()) return
    this.#ws.send(formatText(frame))
  }

  /** Holds back what the client sends next. */
  pause(): void {
    if (!this.#isClosed) this.#ws.pause()
  }

  resume(): void {
    if (!this.#isClosed) this.#ws.resume()
  }

  /** Sends all that is left, the last frames, and closes. */
  finish(frames: PtyServerFrame[]): void {
    this.pump(Number.POSITIVE_INFINITY)
    for (const frame of frames) this.send(frame)
    this.close(1000, 'process exited')
  }

  /** Closes the connection; from now on nothing is heard of it but `closed`, and that at once. */
  close(code: number, reason: string): void {
    if (this.#isClosed) return
    // The client's answer could not be heard on a paused connection. ws waits for it for 30 s.
    this.#ws.resume()
    this.#ws.close(code, reason)
    this.#leave()
  }

  #read(data: RawData, isBinary: boolean): void {
    const bytes = data as Buffer
    if (isBinary) {
      const input = parseBinary(bytes)
      if (input) this.#tell({ type: 'input', bytes: input })
      return
    }
    const parsed = parseText(bytes.toString('utf8'))
    if (parsed.ok) this.#tell(parsed.frame)
    else if (!parsed.isIgnored) this.send({ type: 'error', error: parsed.reason, code: 'INVALID_FRAME' })
  }

  #tell(frame: ClientFrame): void {
    try {
      this.#events.frame(frame)
    } catch (error) {
      this.send({ type: 'error', error: messageOf(error), code: 'RUNTIME_ERROR' })
    }
  }

  #hear(act?: () => void): void {
    if (this.#isClosed) return
    this.#silentMs = 0
    // Our answers to pings of the protocol count as well.
    if (this.#checkUnread()) act?.()
  }

  #checkUnread(): boolean {
    if (this.#ws.bufferedAmount <= MAX_UNREAD_BYTES) return true
    this.#ws.terminate()
    this.#leave()
    return false
  }

  #sendBinary(frame: Buffer): void {
    this.#ws.send(frame, { binary: true })
    if (this.#ws.bufferedAmount >= MAX_SENDING_BYTES) this.#waitingMs ??= 0
  }

  #tick(): void {
    const { pingMs, silenceMs } = this.#times
    this.#silentMs += pingMs
    if (this.#waitingMs !== undefined) this.#waitingMs += pingMs
    // The first of the steps is not a whole one.
    if (Math.max(this.#silentMs, this.#waitingMs ?? 0) > silenceMs) {
      this.#ws.terminate()
      this.#leave()
    } else this.#ws.ping()
  }

  #leave(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    clearInterval(this.#ticks)
    this.#events.closed()
  }
}
