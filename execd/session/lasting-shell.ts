// The shell of a session, whichever process it is at the moment. It lives from run to run; when it has ended, be it by `exit`, by
// `exec`, by a timeout or by anyone's hand, a new one takes over with the state from the end of the last run that came to its end.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../../lib/errors.ts'
import { StartError } from '../command/process.ts'
import { isRunning } from '../command/process-table.ts'
import { execdError } from '../http/answer.ts'
import type { Surroundings } from '../surroundings.ts'
import { within } from '../timer.ts'
import type { RunReport } from './due-reports.ts'
import { KEPT, wordsOf } from './end.ts'
import type { SessionPipes } from './pipes.ts'
import type { Dialect, SavedState } from './script.ts'
import { Shell } from './shell.ts'

/** How long one that is gone may take to be told as ended. */
const TOLD_MS = 1000

export type LastingShellOptions = {
  surroundings: Surroundings
  pipes: SessionPipes
  /** A directory for this session alone. */
  dir: string
  dialect: Dialect
  /** The program as an absolute path. */
  path: string
  cwd: string
  marks?: Record<string, string>
}

/** A process that takes runs. */
export type UsableShell = {
  shell: Shell
  /** What its client must know. */
  notices: string[]
  /** Variables that it lacks, as they have changed since the last run. */
  exports: Record<string, string>
}

export class LastingShell {
  readonly dialect: Dialect
  readonly #options: LastingShellOptions
  #current: Shell | undefined
  #isChecked = false
  #started = 0
  /** What the next process begins with. */
  #state: SavedState
  #last: RunReport
  /** The environment that has been brought in. */
  #env: Record<string, string> = {}

  constructor(options: LastingShellOptions) {
    this.#options = options
    this.dialect = options.dialect
    this.#state = { cwd: options.cwd, traced: '', isPartial: false }
    this.#last = { cwd: options.cwd, traced: '', status: 0 }
  }

  /** How the last run left it. */
  get last(): RunReport {
    return this.#last
  }

  /** How often a new process has taken over. */
  get restarts(): number {
    return Math.max(0, this.#started - 1)
  }

  /** Starts the first process, so that the first run finds it ready. Throws a refusal when it cannot be executed. */
  async start(env: Record<string, string>): Promise<void> {
    await this.#start(env, this.#state)
  }

  /** The process for the next run. Throws a refusal when there is none to be had. */
  async use(env: Record<string, string>): Promise<UsableShell> {
    const notices: string[] = []
    let shell = this.#current
    // Others may have seen it end before we are told.
    if (shell && !isRunning(shell)) await within(shell.ended, TOLD_MS)
    if (shell?.end) {
      const since = shell.isStateCurrent ? 'the end of the last run' : 'before the last run'
      notices.push(
        `the shell has ended between two runs (${wordsOf(shell.end)}): this run is in a new one, with ${KEPT[this.dialect]} from ${since}`,
      )
      this.release(shell)
      shell = undefined
    }
    // One that was started and never became ready is tried once more, to say why.
    const cwd = await shell?.ready.catch(() => undefined)
    if (!shell || cwd === undefined) shell = await this.#replace(env, notices)
    else this.#check(cwd, notices)
    const exports = Object.entries(env).filter(([name, value]) => this.#env[name] !== value)
    return { shell, notices, exports: Object.fromEntries(exports) }
  }

  /** Notes how a run has left the process, with the environment that it had. */
  record(report: RunReport, env: Record<string, string>): void {
    this.#last = report
    this.#env = env
  }

  /** Lets go of a process that has ended, or does not end. `status` is what `$?` is in the next run. */
  release(shell: Shell, status = this.#last.status): void {
    if (this.#current === shell) this.#current = undefined
    this.#state = shell.state
    this.#last = { cwd: this.#state.cwd, traced: this.#state.traced, status }
  }

  /** Ends the process as at the end of a script. What it left in the background lives on. */
  async close(): Promise<void> {
    await this.#current?.close()
    rmSync(this.#options.dir, { recursive: true, force: true })
  }

  async #replace(env: Record<string, string>, notices: string[]): Promise<Shell> {
    const bare: SavedState = { cwd: this.#state.cwd, traced: '', isPartial: true }
    let reason = ''
    for (const state of this.#state.exports ? [this.#state, bare] : [this.#state]) {
      const shell = await this.#start(env, state)
      try {
        this.#check(await shell.ready, notices)
        if (state.isPartial)
          notices.push(
            state.exports
              ? 'only the exported variables and the directory were kept, as all of the state was too much'
              : 'no variables were kept, as they were too much or could not be brought back',
          )
        return shell
      } catch (error) {
        reason = messageOf(error)
      }
    }
    throw execdError('RUNTIME_ERROR', `Cannot start the shell of a session: ${reason}`)
  }

  async #start(env: Record<string, string>, state: SavedState): Promise<Shell> {
    const { surroundings, pipes, dir, dialect, path, marks } = this.#options
    this.#started++
    try {
      this.#current = await Shell.start(surroundings, pipes, {
        dialect,
        path,
        dir: join(dir, String(this.#started)),
        env,
        ...(marks ? { marks } : {}),
        state,
        fallbackCwd: surroundings.workdir,
      })
    } catch (error) {
      if (error instanceof StartError)
        throw execdError('RUNTIME_ERROR', `Cannot start the shell of a session: ${error.message}`, error)
      throw error
    }
    this.#isChecked = false
    if (!state.exports) this.#env = env
    return this.#current
  }

  /** Once for each process: whether it is where it should be. */
  #check(cwd: string, notices: string[]): void {
    if (!this.#isChecked && cwd !== this.#state.cwd)
      notices.push(`the directory "${this.#state.cwd}" cannot be entered: this run begins in "${cwd}"`)
    this.#isChecked = true
  }
}
