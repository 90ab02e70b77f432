// The way to a kernel: one connection for all requests, and each message to whoever sent the request that it belongs to. What
// belongs to nobody who waits, such as the output of an interrupted run, goes nowhere. A connection that breaks is made again,
// and the server then sends what it kept for us.

import { messageOf } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/log.ts'
import { createRandomId } from '../../random-id.ts'
import { pause } from '../../timer.ts'
import { type Closed, type Connection, openConnection } from './connection.ts'
import { formatRequest, type Message, parseMessage } from './message.ts'
import type { JupyterServer } from './server.ts'

const RECONNECT_STEP_MS = 100
/** How long a server that is there may take to answer. */
const ANSWER_MS = 10_000

/** Takes a message; the connection is held back until a promise that it gives resolves. */
export type Listener = (message: Message) => void | Promise<void>

export type LinkOptions = {
  server: JupyterServer
  kernelId: string
  /** How long a broken connection is tried to be made again. */
  reconnectMs: number
  log: Logger
  /** Whether there is still something to connect to. */
  isWorthwhile(): Promise<boolean>
  /** What the kernel, or the server in its place, announces about it: `idle`, `dead`, `restarting`. */
  onState(state: unknown): void
  onBreak(closed: Closed): void
  /** There is no connection any more, and none can be had. */
  onLost(reason: string): void
}

export class KernelLink {
  readonly #options: LinkOptions
  /** Names us to the server, which keeps messages for it while there is no connection. */
  readonly #clientId = createRandomId()
  readonly #listeners = new Map<string, Listener>()
  readonly #queue: { message: Message; listener: Listener }[] = []
  readonly #stop = new AbortController()
  #connection: Connection | undefined
  #reconnecting: Promise<void> = Promise.resolve()
  #isReading = false
  #isHeld = false
  #heardAt = 0

  constructor(options: LinkOptions) {
    this.#options = options
  }

  async connect(signal: AbortSignal): Promise<void> {
    const { server, kernelId } = this.#options
    const connection = await openConnection({
      ...server.channels(kernelId, this.#clientId),
      signal: AbortSignal.any([this.#stop.signal, signal]),
      onMessage: (frame, isBinary) => {
        const message = parseMessage(frame, isBinary)
        if (message) this.#take(message)
      },
    })
    this.#connection = connection
    this.#heardAt = performance.now()
    if (this.#isHeld) connection.pause()
    void connection.closed.then((closed) => {
      this.#connection = undefined
      this.#reconnecting = this.#reconnect(closed)
    })
  }

  /** Resolves when a connection that is being made again is there, or is not to be had. */
  async settled(): Promise<void> {
    await this.#reconnecting
  }

  get isConnected(): boolean {
    return this.#connection !== undefined
  }

  /** For how long nothing has come for anyone who waits; 0 while nothing can come. */
  get quietMs(): number {
    return this.#connection && !this.#isHeld ? performance.now() - this.#heardAt : 0
  }

  /** Sends a request, whose messages go to `listener` until it is taken away by the function returned. */
  send(type: string, content: Record<string, unknown>, listener: Listener): () => void {
    if (!this.#connection) throw new Error('There is no connection to the kernel')
    const id = createRandomId()
    this.#listeners.set(id, listener)
    this.#connection.send(formatRequest({ id, type, session: this.#clientId, channel: 'shell', content }))
    return () => {
      this.#listeners.delete(id)
    }
  }

  close(): void {
    this.#stop.abort(new Error('The connection is not needed any more'))
    this.#connection?.close()
  }

  async #reconnect(closed: Closed): Promise<void> {
    if (this.#stop.signal.aborted) return
    const { reconnectMs, log, isWorthwhile, onBreak, onLost } = this.#options
    log.warn('the connection to a kernel broke', { reason: closed.reason })
    onBreak(closed)
    const deadline = performance.now() + reconnectMs
    let last = closed.reason
    while (performance.now() < deadline) {
      try {
        if (await isWorthwhile()) return await this.connect(AbortSignal.timeout(ANSWER_MS))
      } catch (error) {
        last = messageOf(error)
      }
      if (this.#stop.signal.aborted) return
      await pause(RECONNECT_STEP_MS)
    }
    onLost(last)
  }

  #take(message: Message): void {
    if (message.type === 'status') this.#options.onState(message.content.execution_state)
    const listener = message.parent === undefined ? undefined : this.#listeners.get(message.parent)
    if (!listener) return
    this.#heardAt = performance.now()
    this.#queue.push({ message, listener })
    if (!this.#isReading) void this.#read()
  }

  /** Gives one message after the other to its listener; the connection is held back while one is being taken. */
  async #read(): Promise<void> {
    this.#isReading = true
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      const taken = next.listener(next.message)
      if (!taken) continue
      this.#isHeld = true
      this.#connection?.pause()
      await taken
      this.#isHeld = false
      this.#heardAt = performance.now()
      this.#connection?.resume()
    }
    this.#isReading = false
  }
}
