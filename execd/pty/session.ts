// A session: one program at a time, what it wrote last, and who looks at it. One client holds it and may type; others may watch.

import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { PTY_TAKEN_OVER, type PtyMode, type PtyServerFrame, type PtyStatus } from '../../lib/api/execd-pty.ts'
import { messageOf } from '../../lib/errors.ts'
import { isRunning, type ProcessEntry, readProcess } from '../command/process-table.ts'
import { execdError } from '../http/answer.ts'
import { within } from '../timer.ts'
import { Client, type ClientFrame, type ClientRole, type ClientTimes } from './client.ts'
import { endSession, membersOf } from './end-session.ts'
import { InputFlow, OutputFlow } from './flow.ts'
import { type Launcher, launch } from './launch.ts'
import type { TerminalSize } from './native.ts'
import type { Program, ProgramEnd } from './program.ts'
import { ReplayBuffer, type Stream } from './replay.ts'
import type { ConnectRequest, PtyRequest } from './request.ts'

const MAX_VIEWERS = 16
/** How many ended programs we remember the background jobs of. */
const MAX_LEFT = 64
/** How long the end of a killed program may take to be told. */
const LAST_END_MS = 1000

export type SessionLimits = {
  replayBytes: number
  /** How long the program waits for a holder that does not take its output. */
  holdMs: number
  /** How long typing waits for a program that does not read it. */
  inputMs: number
}

export type SessionOptions = {
  id: string
  request: PtyRequest
  cwd: string
  launcher: Launcher
  limits: SessionLimits
  times: ClientTimes
}

type Running = { program: Program; startedAt: number }
type Ended = { mode: PtyMode; startedAt: number; end: ProgramEnd; exitedAt: number }

export class PtySession {
  readonly id: string
  readonly #options: SessionOptions
  readonly #replay: ReplayBuffer
  readonly #outputFlow: OutputFlow
  readonly #inputFlow: InputFlow
  readonly #createdAt = Date.now()
  #idleSince = Date.now()
  #size: TerminalSize
  #running: Running | undefined
  #starting: Promise<void> | undefined
  #ended: Ended | undefined
  #startError: unknown
  #isGone = false
  readonly #clients = new Set<Client>()
  #holder: Client | undefined
  /** Background jobs of programs that have ended. */
  readonly #left: { session: number; members: ProcessEntry[] }[] = []

  constructor(options: SessionOptions) {
    this.id = options.id
    this.#options = options
    this.#size = options.request.size
    this.#replay = new ReplayBuffer({ maxBytes: options.limits.replayBytes })
    this.#outputFlow = new OutputFlow(options.limits.holdMs)
    this.#inputFlow = new InputFlow(options.limits.inputMs)
  }

  /** Since when nothing runs and nobody looks, or undefined while something does. */
  get idleSince(): number | undefined {
    return this.#running || this.#starting || this.#clients.size > 0 ? undefined : this.#idleSince
  }

  status(): PtyStatus {
    const { request, cwd } = this.#options
    const ended = this.#running ? undefined : this.#ended
    const startedAt = this.#running?.startedAt ?? ended?.startedAt
    const mode = this.#running?.program.mode ?? ended?.mode
    const command = 'argv' in request.run ? request.run.argv.join(' ') : request.run.line
    return {
      session_id: this.id,
      running: this.#running !== undefined,
      output_offset: this.#replay.end,
      created_at: new Date(this.#createdAt).toISOString(),
      ...(command === undefined ? {} : { command }),
      cwd,
      ...this.#size,
      connected: this.#holder !== undefined,
      viewers: this.#viewers,
      launch_attempted: startedAt !== undefined || this.#startError !== undefined,
      launch_failed: this.#startError !== undefined,
      ...(mode ? { mode } : {}),
      ...(startedAt === undefined ? {} : { started_at: new Date(startedAt).toISOString() }),
      ...(this.#running ? { pid: this.#running.program.pid } : {}),
      ...(ended ? { exit_code: ended.end.exitCode, exited_at: new Date(ended.exitedAt).toISOString() } : {}),
      ...(ended?.end.signal ? { signal: ended.end.signal } : {}),
    }
  }

  /** Refuses a connection that cannot be, while that can still be told by a status. */
  admit({ isTakeover, isViewer }: Pick<ConnectRequest, 'isTakeover' | 'isViewer'>): void {
    if (isViewer) {
      if (this.#viewers >= MAX_VIEWERS)
        throw execdError('TOO_MANY', `PTY session "${this.id}" has ${MAX_VIEWERS} viewers already`)
    } else if (this.#holder && !isTakeover)
      throw execdError('ALREADY_CONNECTED', `PTY session "${this.id}" is held by another client`)
  }

  /** Takes a connection that was admitted. Resolves when it has begun, or cannot. */
  async connect(ws: WebSocket, socket: Socket, { since, mode, isViewer }: ConnectRequest): Promise<void> {
    const client = this.#add(ws, socket, isViewer ? 'viewer' : 'holder')
    client.pause()
    try {
      if (!isViewer) await this.#ensureRunning(mode)
    } catch (error) {
      const code = this.#isGone ? 'SESSION_GONE' : 'START_FAILED'
      client.send({ type: 'error', error: messageOf(error), code })
      client.close(1011, 'start failed')
      return
    }
    if (client.isClosed) return
    client.begin(since)
    client.send({
      type: 'connected',
      session_id: this.id,
      mode: this.#running?.program.mode ?? this.#ended?.mode ?? mode,
      ...(isViewer ? { view: true } : {}),
    })
    client.resume()
    if (!this.#running && this.#ended) client.finish(endFrames(this.#ended.end))
  }

  /** Ends it because execd ends. */
  end(graceMs: number): Promise<void> {
    return this.#close(graceMs, 1001, 'execd ends', [])
  }

  /** Ends it because a client wants that. */
  delete(graceMs: number): Promise<void> {
    return this.#close(graceMs, 1000, 'session deleted', [
      { type: 'error', error: `PTY session "${this.id}" was deleted`, code: 'SESSION_GONE' },
    ])
  }

  get #viewers(): number {
    return this.#clients.size - (this.#holder ? 1 : 0)
  }

  async #close(graceMs: number, code: number, reason: string, frames: PtyServerFrame[]): Promise<void> {
    this.#isGone = true
    await this.#endPrograms(graceMs)
    for (const client of this.#clients) {
      for (const frame of frames) client.send(frame)
      client.close(code, reason)
    }
  }

  /** Ends what runs, and what its programs have left in the background. */
  async #endPrograms(graceMs: number): Promise<void> {
    await this.#starting?.catch(() => {})
    const running = this.#running
    // As long as a member lives that is known to be one, the number of its session is not another one's.
    const sessions = this.#left
      .splice(0)
      .filter(({ session, members }) =>
        members.some((member) => isRunning(member) && readProcess(member.pid)?.session === session),
      )
    await Promise.all([
      running ? endSession(running.program.pid, graceMs) : undefined,
      ...sessions.map(({ session }) => endSession(session, graceMs)),
    ])
    if (running) await within(running.program.ended, LAST_END_MS)
  }

  #add(ws: WebSocket, socket: Socket, role: ClientRole): Client {
    const client: Client = new Client({
      ws,
      socket,
      replay: this.#replay,
      times: this.#options.times,
      events: {
        frame: (frame) => this.#obey(client, frame),
        taken: () => this.#balance(),
        closed: () => this.#remove(client),
      },
    })
    this.#clients.add(client)
    if (role === 'viewer') return client
    const before = this.#holder
    this.#holder = client
    this.#outputFlow.reset()
    before?.close(PTY_TAKEN_OVER, 'TAKEN_OVER')
    return client
  }

  #remove(client: Client): void {
    this.#clients.delete(client)
    this.#idleSince = Date.now()
    if (this.#holder !== client) return
    this.#holder = undefined
    this.#outputFlow.reset()
  }

  async #ensureRunning(mode: PtyMode): Promise<void> {
    if (this.#isGone) throw new Error(`PTY session "${this.id}" was deleted`)
    if (this.#running) return
    this.#starting ??= this.#start(mode).finally(() => {
      this.#starting = undefined
    })
    await this.#starting
  }

  async #start(mode: PtyMode): Promise<void> {
    const { launcher, request, cwd } = this.#options
    try {
      const program = await launch(launcher, { request, cwd, mode, size: this.#size }, (stream, bytes) =>
        this.#output(stream, bytes),
      )
      const running = { program, startedAt: Date.now() }
      this.#running = running
      this.#startError = undefined
      void program.ended.then((end) => this.#finish(running, end))
    } catch (error) {
      this.#startError = error
      throw error
    }
  }

  #output(stream: Stream, bytes: Buffer): void {
    this.#replay.append(stream, bytes)
    for (const client of this.#clients) client.pump()
    this.#balance()
  }

  #finish({ program, startedAt }: Running, end: ProgramEnd): void {
    const members = membersOf(program.pid)
    if (members.length > 0) this.#left.push({ session: program.pid, members })
    if (this.#left.length > MAX_LEFT) this.#left.shift()
    this.#running = undefined
    this.#ended = { mode: program.mode, startedAt, end, exitedAt: Date.now() }
    this.#idleSince = Date.now()
    if (end.failure !== undefined) this.#startError = end.failure
    this.#outputFlow.reset()
    // One that has not begun yet finishes when it has.
    for (const client of this.#clients) if (client.hasBegun) client.finish(endFrames(end))
  }

  #balance(): void {
    this.#outputFlow.balance(this.#running?.program, this.#holder?.isWaiting ?? false)
  }

  #obey(client: Client, frame: ClientFrame): void {
    const program = this.#running?.program
    if (frame.type === 'ping') client.send({ type: 'pong' })
    else if (client !== this.#holder)
      client.send({ type: 'error', error: 'This connection only watches', code: 'INVALID_FRAME' })
    else if (frame.type === 'input') this.#type(client, frame.bytes)
    else if (frame.type === 'stdin') this.#type(client, Buffer.from(frame.data))
    else if (frame.type === 'eof') program?.input.end()
    else if (frame.type === 'signal') program?.signal(frame.signal)
    else {
      this.#size = { cols: frame.cols, rows: frame.rows }
      program?.resize(this.#size)
    }
  }

  #type(client: Client, bytes: Buffer): void {
    const error = this.#inputFlow.type(client, this.#running?.program.input, bytes)
    if (error !== undefined) client.send({ type: 'error', error, code: 'STDIN_WRITE_FAILED' })
  }
}

function endFrames({ exitCode, signal, failure }: ProgramEnd): PtyServerFrame[] {
  return [
    ...(failure === undefined ? [] : [{ type: 'error', error: failure, code: 'START_FAILED' } as const]),
    { type: 'exit', exit_code: exitCode, ...(signal ? { signal } : {}) },
  ]
}
