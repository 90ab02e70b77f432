// All sessions of terminals. One that nobody uses any more, and that runs nothing, is forgotten after a while, or sooner when
// there are many: what runs is never ended to make room.

import type { PtyStatus } from '../../lib/api/execd-pty.ts'
import { execdError } from '../http/answer.ts'
import type { Surroundings } from '../surroundings.ts'
import type { ClientTimes } from './client.ts'
import { type Launcher, prepareCwd } from './launch.ts'
import { loadTerminals, type Terminals } from './native.ts'
import type { PtyRequest } from './request.ts'
import { PtySession, type SessionLimits } from './session.ts'

const SWEEP_MS = 60_000
const DELETE_GRACE_MS = 2000

export type PtyOptions = {
  maxSessions: number
  /** How long a session without a program and without a client is kept. */
  idleMs: number
  limits: SessionLimits
  times: ClientTimes
}

/** All buffers full, that is 64 MiB. */
export const DEFAULT_PTY_OPTIONS: PtyOptions = {
  maxSessions: 64,
  idleMs: 3_600_000,
  limits: { replayBytes: 1 << 20, holdMs: 2000, inputMs: 10_000 },
  times: { pingMs: 30_000, silenceMs: 60_000 },
}

export class PtySessions {
  readonly #options: PtyOptions
  readonly #launcher: Launcher
  readonly #sessions = new Map<string, PtySession>()
  #terminals: Terminals | undefined
  #sweeps: NodeJS.Timeout | undefined

  constructor(surroundings: Surroundings, options: PtyOptions = DEFAULT_PTY_OPTIONS) {
    this.#options = options
    this.#launcher = {
      surroundings,
      terminals: () => {
        this.#terminals ??= loadTerminals()
        return this.#terminals
      },
    }
  }

  create(request: PtyRequest): PtySession {
    const cwd = prepareCwd(this.#launcher, request)
    this.#makeRoom()
    const { limits, times } = this.#options
    const { randomUUID } = process.getBuiltinModule('node:crypto')
    const session = new PtySession({
      id: randomUUID(),
      request,
      cwd,
      launcher: this.#launcher,
      limits,
      times,
    })
    this.#sessions.set(session.id, session)
    this.#sweeps ??= setInterval(() => this.#sweep(), SWEEP_MS).unref()
    return session
  }

  list(): PtyStatus[] {
    return [...this.#sessions.values()].map((session) => session.status())
  }

  /** Throws a refusal when there is none of that id. */
  find(id: string): PtySession {
    const session = this.#sessions.get(id)
    if (session) return session
    throw execdError('CONTEXT_NOT_FOUND', `PTY session "${id}" not found`)
  }

  /** Ends a session; from now on there is none of that id. */
  async delete(id: string): Promise<void> {
    const session = this.find(id)
    this.#sessions.delete(id)
    await session.delete(DELETE_GRACE_MS)
  }

  async endAll(graceMs: number): Promise<void> {
    clearInterval(this.#sweeps)
    await Promise.all([...this.#sessions.values()].map((session) => session.end(graceMs)))
  }

  #makeRoom(): void {
    const { maxSessions } = this.#options
    if (this.#sessions.size < maxSessions) return
    const idle = [...this.#sessions.values()].filter((session) => session.idleSince !== undefined)
    const oldest = idle.sort((a, b) => (a.idleSince ?? 0) - (b.idleSince ?? 0))[0]
    if (!oldest)
      throw execdError(
        'TOO_MANY',
        `There are ${maxSessions} PTY sessions that are all in use: delete one first`,
      )
    this.#sessions.delete(oldest.id)
  }

  #sweep(): void {
    const before = Date.now() - this.#options.idleMs
    for (const { id, idleSince } of this.#sessions.values())
      if ((idleSince ?? Number.POSITIVE_INFINITY) < before) this.#sessions.delete(id)
  }
}
