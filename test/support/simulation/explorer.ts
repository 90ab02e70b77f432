// Takes steps one after the other, as clients, as the machine and as bad luck, and checks after each what must be true. Time passes
// only here, so what is under way at a step is under way because the step before did not wait for it.

import { checkList } from './acknowledged.ts'
import { findDisagreements, findLogProblems, findPoolProblems } from './checks.ts'
import { Creates } from './creates.ts'
import { FAULTS, MOMENTS } from './lasting-runtime.ts'
import type { KnownSandbox } from './model.ts'
import { Operator } from './operator.ts'
import { POOL, Session } from './session.ts'
import type { Simulation } from './simulation.ts'
import { SnapshotUses } from './snapshots.ts'
import type { Kind, Step } from './steps.ts'
import { Uses } from './uses.ts'

const FAULTY_CALLS = [
  ...(['create', 'pause', 'pause', 'resume', 'remove', 'inspect', 'list'] as const),
  ...(['snapshot', 'snapshot', 'remove-snapshot', 'list-snapshots'] as const),
]
const MAX_SANDBOXES = 24
/** The longest that one operation may take: a start that hangs, and a removal that hangs after it. */
const LONGEST_OPERATION_MS = 120_000
/** Until a pass has looked at everything. */
const AGREEMENT_MS = 45_000
/** Until a pool is tried to be filled again. */
const POOL_AGREEMENT_MS = 90_000
/** So much of what was done and written last is told of a failure. */
const LOG_STEPS = 20
const LOG_LINES = 60

export class Explorer {
  readonly trace: string[] = []
  readonly #session: Session
  readonly #operator: Operator
  readonly #creates: Creates
  readonly #uses: Uses
  readonly #snapshots: SnapshotUses
  #favourite: KnownSandbox | undefined

  constructor(seed: number) {
    this.#session = new Session(seed)
    this.#operator = new Operator(this.#session)
    this.#creates = new Creates(this.#session, this.#operator)
    this.#uses = new Uses(this.#session)
    this.#snapshots = new SnapshotUses(this.#session)
  }

  get simulation(): Simulation {
    return this.#session.simulation
  }

  /** How late a deadline was kept at most. */
  get worstLatenessMs(): number {
    return this.#session.worstLatenessMs
  }

  /** Takes all steps and settles at the end; throws at the first thing that must not be. */
  async explore(steps: Step[]): Promise<void> {
    try {
      await this.#operator.begin()
      for (const step of steps) {
        if (!this.simulation.isServing) await this.#recover(step.amount)
        this.trace.push(`${new Date(this.simulation.now()).toISOString()} ${JSON.stringify(step)}`)
        await this.#session.unlessDead(() => this.#take(step))
        this.#session.afterDeath()
        this.#session.requireNoFault()
      }
      if (!this.simulation.isServing) await this.#recover(0)
      await this.#settle()
    } catch (error) {
      const log = this.simulation.log.split('\n').slice(-LOG_LINES).join('\n')
      throw new Error(
        `${error instanceof Error ? error.stack : error}\n${this.trace.slice(-LOG_STEPS).join('\n')}\n${log}`,
      )
    } finally {
      this.simulation.close()
    }
  }

  async #take({ kind, pick, amount, waits }: Step): Promise<void> {
    const { simulation } = this
    const { runtime } = simulation
    // Much happens to the same one, so that it happens together.
    const sandbox =
      this.#favourite && pick % 3 !== 0 && this.#session.known.includes(this.#favourite)
        ? this.#favourite
        : this.#session.known[pick % Math.max(this.#session.known.length, 1)]
    this.#favourite = sandbox
    const fault = FAULTS[pick % FAULTS.length] ?? 'fails'
    const call = FAULTY_CALLS[amount % FAULTY_CALLS.length] ?? 'create'
    const moment = MOMENTS[pick % MOMENTS.length] ?? 'before'
    switch (kind) {
      case 'create':
      case 'claim':
      case 'leave':
        if (this.#session.known.length >= MAX_SANDBOXES) break
        this.#creates.create(kind, pick, amount)
        break
      case 'retry':
        this.#creates.retry()
        break
      case 'list':
        await checkList(this.#session, this.#creates)
        break
      case 'drop':
        this.#snapshots.drop(pick)
        break
      case 'stranger':
        await this.#uses.beStranger(sandbox, pick)
        break
      case 'key':
        this.#operator.changeKeys(pick, amount)
        break
      case 'quota':
        this.#operator.changeQuota(pick, amount)
        break
      case 'pool':
        this.#operator.changePool(pick)
        break
      case 'advance':
        await this.#session.advance(
          pick % 10 === 0 ? amount * 100 : pick % 3 === 0 ? amount * 5 : Math.trunc(amount / 3),
        )
        break
      case 'fault':
        runtime.arm({ call, fault, ms: amount * 2 })
        break
      case 'refuseEgress':
        simulation.egressRefusals = 1 + (amount % 3)
        break
      case 'breakWatch':
        runtime.breakWatch()
        break
      case 'jump':
        await this.#jump((pick % 3 === 0 ? -1 : 1) * (3000 + amount * 360))
        break
      case 'kill':
        simulation.kill()
        break
      case 'killInCall':
        runtime.killIn({ call, moment, isLate: pick % 4 === 0 }, simulation.kill)
        break
      case 'killAtCommit':
        simulation.killAtCommit({ after: amount % 12, moment })
        break
      case 'stop':
        await this.#stop()
        break
      case 'settle':
        await this.#settle()
        break
      default:
        if (sandbox) this.#use(kind, sandbox, pick, amount)
    }
    if (simulation.isServing) {
      const own = [...this.#session.operations].at(-1)
      if (waits && own)
        await this.#session.advance(LONGEST_OPERATION_MS, () => !this.#session.operations.has(own))
      else await this.#session.advance(amount % 50)
    }
  }

  #use(kind: Kind, sandbox: KnownSandbox, pick: number, amount: number): void {
    const { runtime } = this.simulation
    switch (kind) {
      case 'get':
        this.#uses.get(sandbox)
        break
      case 'renew':
        this.#uses.renew(sandbox, pick, amount)
        break
      case 'pause':
      case 'resume':
        this.#uses.turn(sandbox, kind)
        break
      case 'delete':
        this.#uses.delete(sandbox)
        break
      case 'snapshot':
        this.#snapshots.take(sandbox)
        break
      case 'patch':
        this.#uses.patch(sandbox, pick)
        break
      case 'exit':
        sandbox.disturb()
        runtime.exit(sandbox.id, amount % 3, pick % 3 !== 0)
        break
      case 'vanish':
        sandbox.disturb()
        runtime.vanish(sandbox.id)
        break
      case 'damage':
        sandbox.disturb()
        runtime.damage(sandbox.id)
        break
      case 'turn':
        sandbox.disturb()
        runtime.turn(sandbox.id, pick % 2 === 0 ? 'paused' : 'running', amount % 3 !== 0)
        break
      default:
        throw new Error(`no step ${kind}`)
    }
  }

  /** Sets the clock. Ends are spans, and move along while control runs; while it does not, nobody knows of the jump. */
  async #jump(ms: number): Promise<void> {
    const { simulation } = this
    // What is on its way is there before.
    await this.#session.advance(1)
    const { isServing } = simulation
    const before = new Set(this.#session.known)
    simulation.jump(ms)
    this.#session.jumps++
    this.#session.jumpedAt = simulation.time.elapsed()
    if (isServing) {
      // Whoever asks makes control look at the clock.
      this.simulation
        .call({ method: 'GET', path: '/v1/sandboxes?pageSize=1', key: this.#session.keys.red ?? '' })
        .catch(() => {})
      await simulation.time.advance(0)
      for (const sandbox of this.#session.known)
        sandbox.shift(ms, !simulation.isServing || !before.has(sandbox))
    }
    this.#session.noteTime()
  }

  async #stop(): Promise<void> {
    await this.simulation.stop()
    if (this.#session.operations.size > 0)
      this.#session.fault(`${this.#session.operations.size} requests were not answered at a stop`)
    this.simulation.deaths++
  }

  /** Starts control again, and sees that what was acknowledged is there. */
  async #recover(downMs: number): Promise<void> {
    this.#session.afterDeath()
    await this.#session.advance(downMs)
    for (let attempt = 0; !this.simulation.isServing; attempt++) {
      if (attempt > 5) this.#session.fault('control does not start')
      await this.simulation.start()
      this.#session.afterDeath()
      this.#session.noteTime()
    }
    await this.#session.unlessDead(async () => {
      await checkList(this.#session, this.#creates)
      await this.#operator.checkKeys()
    })
    if (!this.simulation.isServing) await this.#recover(0)
  }

  /** Lets everything calm down, and then holds everything against everything. */
  async #settle(): Promise<void> {
    const { simulation } = this
    simulation.calm()
    await this.#session.advance(LONGEST_OPERATION_MS, () => this.#session.operations.size === 0)
    if (!simulation.isServing) return
    if (this.#session.operations.size > 0)
      this.#session.fault(`${this.#session.operations.size} requests are never answered`)
    await this.#until(AGREEMENT_MS, () => findDisagreements(simulation))
    await this.#until(POOL_AGREEMENT_MS, () => [
      ...findDisagreements(simulation),
      ...findPoolProblems(simulation, POOL),
      ...this.#snapshots.problems(),
    ])
    await checkList(this.#session, this.#creates, { isCalm: true })
    await this.#operator.checkKeys()
    const inLog = findLogProblems(simulation)
    if (inLog.length > 0) this.#session.fault(inLog.slice(0, 5).join('; '))
    await this.#operator.checkUsage()
    this.#session.requireNoFault()
  }

  async #until(ms: number, problems: () => string[]): Promise<void> {
    const end = this.simulation.time.elapsed() + ms
    let found = problems()
    while (found.length > 0 && this.simulation.time.elapsed() < end) {
      await this.#session.advance(250)
      found = problems()
    }
    if (found.length > 0) this.#session.fault(`after ${ms / 1000} s of calm: ${found.join('; ')}`)
  }
}
