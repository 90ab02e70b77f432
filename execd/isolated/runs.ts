// What runs, or has run, in the background of one session. The output is kept by execd, outside of everything that the session
// can reach (I5), and is bounded.

import { join } from 'node:path'
import type { IsolatedRunStatus } from '../../lib/api/execd-isolated.ts'
import { messageOf } from '../../lib/errors.ts'
import { Journal } from '../command/journal.ts'
import { execdError } from '../http/answer.ts'
import type { IsolatedSession } from './session.ts'

const JOURNAL_BYTES = 16 << 20
/** What says little is never written to disk. */
const MEMORY_BYTES = 16 << 10
const MAX_RUNNING = 64
const MAX_FINISHED = 100

type Run = {
  startedAt: number
  finishedAt?: number
  exitCode?: number
  error?: string
  journal: Journal
}

export class BackgroundRuns {
  readonly #session: IsolatedSession
  /** In the order of their starts. */
  readonly #runs = new Map<string, Run>()

  constructor(session: IsolatedSession) {
    this.#session = session
  }

  /** How many are going on. */
  get running(): number {
    return [...this.#runs.values()].filter(({ finishedAt }) => finishedAt === undefined).length
  }

  /** Starts code once the session has time for it. It counts as running from now on. */
  start(code: string): { run_id: string; started_at: string } {
    if (this.running >= MAX_RUNNING)
      throw execdError('TOO_MANY', `${MAX_RUNNING} runs are in the background of this session already`)
    const id = process.getBuiltinModule('node:crypto').randomUUID()
    const run: Run = {
      startedAt: Date.now(),
      journal: new Journal({
        path: join(this.#session.spec.dir, `${id}.output`),
        maxBytes: () => JOURNAL_BYTES,
        memoryBytes: MEMORY_BYTES,
      }),
    }
    this.#runs.set(id, run)
    void this.#follow(run, code)
    return { run_id: id, started_at: new Date(run.startedAt).toISOString() }
  }

  /** The state of a run. Throws a refusal when there is none of that id. */
  status(id: string): IsolatedRunStatus {
    const { startedAt, finishedAt, exitCode, error } = this.#find(id)
    return {
      session_id: this.#session.id,
      run_id: id,
      running: finishedAt === undefined,
      ...(exitCode === undefined ? {} : { exit_code: exitCode }),
      ...(error === undefined ? {} : { error }),
      started_at: new Date(startedAt).toISOString(),
      ...(finishedAt === undefined ? {} : { finished_at: new Date(finishedAt).toISOString() }),
    }
  }

  journal(id: string): Journal {
    return this.#find(id).journal
  }

  /** Forgets all output. */
  close(): void {
    for (const { journal } of this.#runs.values()) journal.remove()
    this.#runs.clear()
  }

  #find(id: string): Run {
    const run = this.#runs.get(id)
    if (!run)
      throw execdError('SESSION_NOT_FOUND', `There is no run "${id}" in the session "${this.#session.id}"`)
    return run
  }

  async #follow(run: Run, code: string): Promise<void> {
    try {
      const started = await this.#session.start(code, run.journal.sink())
      run.exitCode = (await started.ended).exitCode
    } catch (error) {
      run.error = messageOf(error)
    }
    run.finishedAt = Date.now()
    this.#forgetOld()
  }

  #forgetOld(): void {
    const finished = [...this.#runs].filter(([, { finishedAt }]) => finishedAt !== undefined)
    for (const [id, { journal }] of finished.slice(0, -MAX_FINISHED)) {
      journal.remove()
      this.#runs.delete(id)
    }
  }
}
