// Control over a runtime that outlives it, in one process and on virtual time: started, stopped, killed at any step, started
// again, with its database in a file. A kill is as SIGKILL is: nothing is written or asked for after it, no clean-up runs.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { settlesWithin } from '../../../control/async.ts'
import { Clock } from '../../../control/clock.ts'
import { moveDeadlines } from '../../../control/sandbox/move-deadlines.ts'
import { reconcile } from '../../../control/sandbox/reconcile.ts'
import { Store } from '../../../control/store/sqlite.ts'
import { createLogger } from '../../../lib/log.ts'
import { type Answer, type ControlApp, createControlApp, MIGRATIONS } from '../control-app.ts'
import { LastingRuntime, type Moment } from './lasting-runtime.ts'
import { installVirtualTime, Life, type VirtualTime } from './virtual-time.ts'

export const ROOT_KEY = 'root-key'
const BEGIN = Date.UTC(2026, 0, 1)
const FIRST_PASS_MS = 10_000

export type CommitDeath = { after: number; moment: Moment }

export type Call = {
  method: string
  path: string
  body?: unknown
  key?: string
  headers?: Record<string, string>
  signal?: AbortSignal
}

export class Simulation {
  readonly time: VirtualTime = installVirtualTime()
  readonly runtime = new LastingRuntime(this.time)
  readonly #folder = mkdtempSync(join(tmpdir(), 'simulation-'))
  readonly #random = Math.random
  readonly #lines: string[] = []
  #life = new Life()
  #control: ControlApp | undefined
  #offset = 0
  #commitDeath: CommitDeath | undefined
  #depth = 0
  /** Since when requests are answered, in elapsed time; undefined while nobody does. */
  servesSince: number | undefined
  /** The next answers of egress that are refusals. */
  egressRefusals = 0
  /** What must never happen. */
  readonly faults: string[] = []
  /** Counts deaths. */
  deaths = 0

  constructor(seed: number) {
    Math.random = mulberry32(seed)
  }

  /** The clock of the machine. */
  now = (): number => BEGIN + this.time.elapsed() + this.#offset

  /** Sets the clock of the machine forward or back. */
  jump(ms: number): void {
    this.#offset += ms
  }

  get isServing(): boolean {
    return this.servesSince !== undefined
  }

  /** The database, while control lives. */
  get store(): Store {
    if (!this.#control) throw new Error('Control does not run')
    return this.#control.store
  }

  get log(): string {
    return this.#lines.join('')
  }

  async start(): Promise<void> {
    const life = new Life()
    this.#life = life
    const { runtime } = this
    const store = new Store({ path: join(this.#folder, 'control.db'), migrationsDir: MIGRATIONS })
    this.#watchCommits(store)
    this.#note('starts')
    this.time.run(life, () => {
      const clock = new Clock({ wall: this.now, monotonic: this.time.elapsed })
      const control = createControlApp({
        store,
        otherRuntime: runtime.connect(life),
        now: clock.now,
        access: { apiKey: ROOT_KEY },
        askEgress: async () => {
          if (this.egressRefusals === 0)
            return { status: 200, contentType: 'application/json', body: Buffer.from('{}') }
          this.egressRefusals--
          return { status: 500, contentType: 'application/json', body: Buffer.from('{}') }
        },
        execd: { ping: async () => {}, run: async () => ({ ok: true }) },
        poolWaitMs: 2000,
        // Shorter than what hangs, so that much is answered before it is done.
        life: {
          // Longer than all jumps of the clock together that control is not there to see.
          idempotencyMs: 30 * 24 * 3_600_000,
          stopGraceMs: 1000,
          createAnswerMs: 3000,
          deleteAnswerMs: 1500,
          pauseTimeoutMs: 20_000,
          maxTimeoutMs: 7_200_000,
        },
        log: createLogger({
          program: 'control',
          level: 'info',
          now: () => new Date(this.now()),
          write: (line) => {
            if (!life.isOver) this.#lines.push(line)
          },
        }),
      })
      clock.onJump((byMs) => moveDeadlines(control.lives, control.pooling.keeper, byMs))
      control.lives.activity.grantGrace()
      this.#control = control
      const begin = async () => {
        const firstPass = reconcile(control.lives)
        firstPass.catch(() => {}) // it is tried again
        await settlesWithin(firstPass, FIRST_PASS_MS)
        if (life.isOver) return
        // Before the loops begin: their first commit may be the one that ends this life.
        this.servesSince = this.time.elapsed()
        control.runLoops().catch((error) => {
          if (!life.isOver) this.faults.push(`a loop ended: ${error instanceof Error ? error.stack : error}`)
        })
      }
      begin().catch((error) => {
        if (!life.isOver) this.faults.push(`could not start: ${error}`)
      })
    })
    await this.time.advance(FIRST_PASS_MS + 1000, () => this.isServing || life.isOver)
  }

  /** Ends control as its stop does: requests are finished, loops end, the database is closed. */
  async stop(): Promise<void> {
    const control = this.#control
    if (!control) return
    this.#note('stops')
    this.servesSince = undefined
    this.runtime.calm()
    let isClosed = false
    void this.time
      .run(this.#life, () => control.close())
      .then(() => {
        isClosed = true
      })
    await this.time.advance(120_000, () => isClosed)
    if (!isClosed && !this.#life.isOver) throw new Error(`Control did not stop:\n${this.log}`)
    this.time.kill(this.#life)
    this.runtime.forget(this.#life)
    this.#control = undefined
  }

  /** SIGKILL, now. */
  kill = (): void => {
    const control = this.#control
    if (!control) return
    this.#note('is killed')
    this.deaths++
    this.servesSince = undefined
    this.#commitDeath = undefined
    this.time.kill(this.#life)
    this.runtime.forget(this.#life)
    control.store.close()
    this.#control = undefined
  }

  /** SIGKILL at a commit that is so many away. */
  killAtCommit(death: CommitDeath): void {
    this.#commitDeath = death
  }

  calm(): void {
    this.#commitDeath = undefined
    this.egressRefusals = 0
    this.runtime.calm()
  }

  /** Asks control. Never settles when control dies before it has answered. */
  async call({ method, path, body, key = ROOT_KEY, headers: more, signal }: Call): Promise<Answer> {
    const control = this.#control
    const life = this.#life
    if (!control || !this.isServing) throw new Error('Nobody answers')
    const headers = { 'open-sandbox-api-key': key, ...more }
    const answer = await this.time.run(life, () => control.call(method, path, body, headers, signal))
    if (life.isOver) await new Promise(() => {})
    return answer
  }

  close(): void {
    this.kill()
    this.time.restore()
    Math.random = this.#random
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #watchCommits(store: Store): void {
    const { database } = store
    const { transact } = database
    database.transact = (work) => {
      const death = this.#commitDeath
      if (!death || this.#depth > 0 || death.after-- > 0) return this.#deeper(() => transact(work))
      const killed = new Error('killed')
      try {
        if (death.moment === 'before') throw killed
        return this.#deeper(() =>
          transact(() => {
            const result = work()
            if (death.moment === 'halfway') throw killed
            return result
          }),
        )
      } finally {
        this.kill()
      }
    }
  }

  #deeper<T>(work: () => T): T {
    this.#depth++
    try {
      return work()
    } finally {
      this.#depth--
    }
  }

  #note(what: string): void {
    this.#lines.push(`${new Date(this.now()).toISOString()} -- control ${what}\n`)
  }
}

/** A small generator of numbers from 0 to 1 that a seed decides. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
