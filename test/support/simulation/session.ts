// What all steps share: a control that is asked, what clients know of its sandboxes, what is under way, and time, which passes only
// here.

import { parseMoment } from '../../../control/sandbox/moment.ts'
import type { Answer } from '../control-app.ts'
import { KnownSandbox, LATENESS_MS } from './model.ts'
import { type Call, Simulation } from './simulation.ts'

export const TENANTS = ['red', 'blue'] as const
export const POOL = { tenant: 'red', bufferMin: 1, bufferMax: 3, poolMax: 6 }

type Operation = { lost: () => void }
/** What was the case when an operation began. */
export type Circumstances = {
  at: number
  elapsed: number
  jumps: number
  wasHanging: boolean
  busy: number
  touched: number
}

export class Session {
  readonly simulation: Simulation
  /** The key of each tenant. */
  readonly keys: Record<string, string> = {}
  readonly known: KnownSandbox[] = []
  readonly gone = new Set<string>()
  readonly operations = new Set<Operation>()
  /** Counts what is done, so that it can be told what was before what. */
  clock = 0
  jumps = 0
  jumpedAt = 0
  /** Counts names, so that none is given twice. */
  names = 0
  /** How late a deadline was kept at most. */
  worstLatenessMs = 0
  #deaths = 0

  constructor(seed: number) {
    this.simulation = new Simulation(seed)
  }

  /** Does something that control's death may cut short. */
  async unlessDead(work: () => Promise<void>): Promise<void> {
    const { deaths } = this.simulation
    try {
      await work()
    } catch (error) {
      if (deaths === this.simulation.deaths) throw error
    }
  }

  /** What was under way when control died is lost. */
  afterDeath(): void {
    if (this.#deaths === this.simulation.deaths) return
    this.#deaths = this.simulation.deaths
    for (const { lost } of this.operations) lost()
    this.operations.clear()
  }

  judgeShown(sandbox: KnownSandbox, answer: Answer, what: string): void {
    const { status, body } = answer
    if (status !== 200) {
      if (!this.isGoneLegally(sandbox, status))
        this.fault(`${what} of ${sandbox.id} answered ${status} ${answer.text}`)
      return
    }
    if (sandbox.isDeleted) this.fault(`${what} shows ${sandbox.id}, whose deletion was acknowledged`)
    const problem = sandbox.labelProblem((body.metadata ?? {}) as Record<string, string>)
    if (problem) this.fault(`${what} of ${sandbox.id}: ${problem}`)
    const shown = body.expiresAt === undefined ? null : (parseMoment(String(body.expiresAt)) ?? Number.NaN)
    if (!sandbox.expiries.includes(shown))
      this.fault(`${what} of ${sandbox.id} shows the end ${shown}, which is none of ${sandbox.expiries}`)
  }

  isGoneLegally(sandbox: KnownSandbox, status: number): boolean {
    return status === 404 && !sandbox.mustLive()
  }

  meet(
    id: string,
    tenant: string,
    { marker, ...more }: { expiresAt: number | null; isPooled: boolean; marker: string },
  ): KnownSandbox {
    if (this.gone.has(id) || this.known.some((other) => other.id === id))
      this.fault(`${id} was given out twice`)
    const sandbox = new KnownSandbox(id, tenant, more)
    sandbox.labels.set(marker, 'set')
    sandbox.mayBeExpired = sandbox.earliestEnd <= this.simulation.now()
    this.known.push(sandbox)
    return sandbox
  }

  forget(sandbox: KnownSandbox): void {
    this.known.splice(this.known.indexOf(sandbox), 1)
    this.gone.add(sandbox.id)
  }

  /** Lets time pass in pieces, with a look at the deadlines after each. */
  async advance(ms: number, until: () => boolean = () => false): Promise<void> {
    const { simulation } = this
    const end = simulation.time.elapsed() + ms
    const isOver = () => until() || this.#deaths !== simulation.deaths
    do {
      await simulation.time.advance(Math.min(500, Math.max(end - simulation.time.elapsed(), 0)), isOver)
      this.noteTime()
    } while (!isOver() && simulation.time.elapsed() < end)
  }

  noteTime(): void {
    const { simulation } = this
    const now = simulation.now()
    for (const sandbox of this.known) if (sandbox.earliestEnd <= now) sandbox.mayBeExpired = true
    if (simulation.servesSince === undefined) return
    const quietMs = simulation.time.elapsed() - Math.max(simulation.servesSince, this.jumpedAt)
    for (const { id, latestEnd } of this.known) {
      const lateMs = Math.min(now - latestEnd, quietMs)
      if (lateMs < 0) continue
      const row = simulation.store.get(id)
      if (!row || row.hidden) continue
      this.worstLatenessMs = Math.max(this.worstLatenessMs, lateMs)
      if (lateMs > LATENESS_MS)
        this.fault(`${id} is there ${lateMs} ms after its time was over (${row.state})`)
    }
  }

  of(sandbox: KnownSandbox, method: string, path: string, body?: unknown): Call {
    const key = this.keys[sandbox.tenant] ?? ''
    return { method, path: `/v1/sandboxes/${sandbox.id}${path}`, key, ...(body !== undefined && { body }) }
  }

  circumstances(sandbox?: KnownSandbox): Circumstances {
    const { time, runtime } = this.simulation
    return {
      at: ++this.clock,
      elapsed: time.elapsed(),
      jumps: this.jumps,
      wasHanging: runtime.isHanging,
      busy: sandbox?.busy ?? 0,
      touched: sandbox?.touched ?? 0,
    }
  }

  hadTrouble({ elapsed, wasHanging }: Circumstances): boolean {
    return wasHanging || this.simulation.runtime.troubledAt >= elapsed
  }

  hadJump({ jumps }: Circumstances): boolean {
    return jumps !== this.jumps
  }

  ask(call: Call, answered: (answer: Answer) => void, lost: () => void = () => {}): void {
    const operation: Operation = { lost }
    this.operations.add(operation)
    this.simulation.call(call).then(
      (answer) => {
        if (!this.operations.delete(operation)) return
        try {
          answered(answer)
        } catch (error) {
          this.simulation.faults.push(String(error))
        }
      },
      (error) => void this.simulation.faults.push(`${call.method} ${call.path} threw ${error}`),
    )
  }

  /** Asks and waits for the answer; for what takes no time. */
  async wait(call: Call): Promise<Answer> {
    let answer: Answer | undefined
    this.simulation.call(call).then(
      (given) => {
        answer = given
      },
      (error) => void this.simulation.faults.push(`${call.method} ${call.path} threw ${error}`),
    )
    await this.simulation.time.advance(1000, () => answer !== undefined)
    if (!answer) throw new Error(`${call.method} ${call.path} is not answered`)
    return answer
  }

  requireNoFault(): void {
    const { faults, runtime } = this.simulation
    faults.push(...runtime.trespasses)
    for (const { state } of runtime.foreign.values())
      if (state !== 'running') faults.push('something foreign was touched')
    if (faults.length > 0) throw new Error(faults.join('\n'))
  }

  fault(message: string): void {
    throw new Error(message)
  }
}
