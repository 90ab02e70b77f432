// All sessions of a sandbox.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { SessionStatus } from '../../lib/api/execd-session.ts'
import { endAllOf } from '../command/end.ts'
import { FAMILY_VARIABLE, ownedEnvironment } from '../command/marks.ts'
import { ProcessScanner, type SeenProcess } from '../command/process-scanner.ts'
import { findShell } from '../command/program.ts'
import { resolvePath } from '../files/path.ts'
import { execdError } from '../http/answer.ts'
import { makeCwd } from '../make-cwd.ts'
import type { Surroundings } from '../surroundings.ts'
import { SessionPipes } from './pipes.ts'
import type { SessionRequest } from './request.ts'
import { Session } from './session.ts'

const MAX_SESSIONS = 256

export class Sessions {
  readonly #surroundings: Surroundings
  readonly #dir: string
  readonly #pipes: SessionPipes
  readonly #scanner: ProcessScanner
  readonly #sessions = new Map<string, Session>()

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings
    this.#dir = join(surroundings.dir, 'sessions')
    this.#pipes = new SessionPipes(surroundings)
    this.#scanner = new ProcessScanner(surroundings.log)
    // An earlier life of execd may have left some.
    rmSync(this.#dir, { recursive: true, force: true })
  }

  /** Makes a session with its shell started. Throws a refusal when there can be none. */
  async create({ cwd }: SessionRequest): Promise<Session> {
    if (this.#sessions.size >= MAX_SESSIONS)
      throw execdError('TOO_MANY', `There are ${MAX_SESSIONS} sessions already: delete one before`)
    const surroundings = this.#surroundings
    const user = surroundings.identity()
    const env = surroundings.environment(user)
    const path = cwd === undefined ? surroundings.workdir : resolvePath(cwd, { ...surroundings.paths, env })
    makeCwd(path, user)
    const shell = findShell(env.PATH, path)
    if (!shell.ok)
      throw execdError(
        'NOT_SUPPORTED',
        `Sessions need a shell, and there is neither "bash" nor "sh" in PATH "${env.PATH}"`,
      )
    const id = process.getBuiltinModule('node:crypto').randomUUID()
    const session = new Session({
      id,
      surroundings,
      pipes: this.#pipes,
      scanner: this.#scanner,
      dir: join(this.#dir, id),
      dialect: shell.path.endsWith('/bash') ? 'bash' : 'sh',
      path: shell.path,
      cwd: path,
    })
    this.#sessions.set(id, session)
    try {
      await session.start()
    } catch (error) {
      this.#sessions.delete(id)
      rmSync(join(this.#dir, id), { recursive: true, force: true })
      throw error
    }
    return session
  }

  /** The session of this id. Throws a refusal when there is none. */
  find(id: string): Session {
    const session = this.#sessions.get(id)
    if (!session) throw execdError('CONTEXT_NOT_FOUND', `There is no session "${id}"`)
    return session
  }

  /** Ends a session. Throws a refusal when there is none of this id. */
  async delete(id: string): Promise<void> {
    const session = this.find(id)
    this.#sessions.delete(id)
    await session.delete()
  }

  /** Ends what a session runs, and not the session. False when there is none of this id. */
  async interrupt(id: string): Promise<boolean> {
    const session = this.#sessions.get(id)
    await session?.interrupt()
    return session !== undefined
  }

  list(): SessionStatus[] {
    return [...this.#sessions.values()].map((session) => session.describe())
  }

  /** Ends all sessions, and whatever any session has ever started. */
  async endAll(graceMs: number): Promise<void> {
    const sessions = [...this.#sessions.values()]
    this.#sessions.clear()
    const mark = ownedEnvironment(this.#surroundings, 'session')[FAMILY_VARIABLE]
    const isMarked = ({ marks }: SeenProcess) => marks.family === mark
    await Promise.all([
      ...sessions.map((session) => session.delete(graceMs)),
      endAllOf({ isMarked }, { graceMs }, this.#scanner),
    ])
  }
}
