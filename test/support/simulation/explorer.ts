// Takes steps one after the other, as clients, as the machine and as bad luck, and checks after each what must be true. Time passes
// only here, so what is under way at a step is under way because the step before did not wait for it.

import { parseMoment } from '../../../control/sandbox/moment.ts'
import type { SandboxRow } from '../../../control/store/rows.ts'
import type { Answer } from '../control-app.ts'
import { findDisagreements, findLogProblems, findPoolProblems } from './checks.ts'
import { FAULTS, MOMENTS } from './lasting-runtime.ts'
import { KnownSandbox, LATENESS_MS } from './model.ts'
import { type Call, Simulation } from './simulation.ts'
import type { Kind, Step } from './steps.ts'

const TENANTS = ['red', 'blue'] as const
const FAULTY_CALLS = ['create', 'pause', 'pause', 'resume', 'remove', 'inspect', 'list'] as const
const POOL = { tenant: 'red', bufferMin: 1, bufferMax: 3, poolMax: 6 }
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

type Operation = { lost: () => void }
type KeyModel = { id: string; secret: string; state: 'opens' | 'revoked' | 'maybe' }
/** What was the case when an operation began. */
type Circumstances = {
  at: number
  elapsed: number
  jumps: number
  wasHanging: boolean
  busy: number
  touched: number
}

export class Explorer {
  readonly simulation: Simulation
  readonly #keys: Record<string, string> = {}
  readonly #made: KeyModel[] = []
  readonly #known: KnownSandbox[] = []
  #favourite: KnownSandbox | undefined
  readonly #gone = new Set<string>()
  readonly #creating = new Map<string, { tenant: string; isPooled: boolean }>()
  readonly #lostCreates = new Map<string, { tenant: string; isPooled: boolean }>()
  /** Creates with an Idempotency-Key that were not answered. */
  readonly #orders = new Map<string, { call: Call; tenant: string; isPooled: boolean }>()
  readonly #failedCreates = new Set<string>()
  readonly #operations = new Set<Operation>()
  readonly #quotas: Record<string, number | undefined> = {}
  readonly trace: string[] = []
  #deaths = 0
  #clock = 0
  #jumps = 0
  #jumpedAt = 0
  #quotaChanges = 0
  #names = 0
  /** How late a deadline was kept at most. */
  worstLatenessMs = 0

  constructor(seed: number) {
    this.simulation = new Simulation(seed)
  }

  /** Takes all steps and settles at the end; throws at the first thing that must not be. */
  async explore(steps: Step[]): Promise<void> {
    try {
      await this.#begin()
      for (const step of steps) {
        if (!this.simulation.isServing) await this.#recover(step.amount)
        this.trace.push(`${new Date(this.simulation.now()).toISOString()} ${JSON.stringify(step)}`)
        await this.#unlessDead(() => this.#take(step))
        this.#afterDeath()
        this.#requireNoFault()
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

  async #begin(): Promise<void> {
    await this.simulation.start()
    for (const tenant of TENANTS) {
      const { body } = await this.#wait({
        method: 'POST',
        path: '/v1/admin/keys',
        body: { name: tenant, tenant },
      })
      this.#keys[tenant] = String(body.key)
    }
    const made = await this.#wait({
      method: 'POST',
      path: `/v1/pools?tenant=${POOL.tenant}`,
      body: {
        name: 'p',
        template: {
          image: 'debian',
          entrypoint: ['sleep', '9'],
          resourceLimits: { cpu: '1', memory: '64Mi' },
        },
        capacitySpec: {
          bufferMin: POOL.bufferMin,
          bufferMax: POOL.bufferMax,
          poolMin: 0,
          poolMax: POOL.poolMax,
        },
      },
    })
    if (made.status !== 201) throw new Error(`no pool: ${made.text}`)
  }

  async #take({ kind, pick, amount, waits }: Step): Promise<void> {
    const { simulation } = this
    const { runtime } = simulation
    // Much happens to the same one, so that it happens together.
    const sandbox =
      this.#favourite && pick % 3 !== 0 && this.#known.includes(this.#favourite)
        ? this.#favourite
        : this.#known[pick % Math.max(this.#known.length, 1)]
    this.#favourite = sandbox
    const fault = FAULTS[pick % FAULTS.length] ?? 'fails'
    const call = FAULTY_CALLS[amount % FAULTY_CALLS.length] ?? 'create'
    const moment = MOMENTS[pick % MOMENTS.length] ?? 'before'
    switch (kind) {
      case 'create':
      case 'claim':
      case 'leave':
        if (this.#known.length >= MAX_SANDBOXES) break
        this.#create(kind, pick, amount)
        break
      case 'retry':
        this.#retry()
        break
      case 'list':
        await this.#checkList()
        break
      case 'stranger':
        await this.#beStranger(sandbox, pick)
        break
      case 'key':
        this.#changeKeys(pick, amount)
        break
      case 'quota':
        this.#changeQuota(pick, amount)
        break
      case 'pool':
        this.#changePool(pick)
        break
      case 'advance':
        await this.#advance(
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
      const own = [...this.#operations].at(-1)
      if (waits && own) await this.#advance(LONGEST_OPERATION_MS, () => !this.#operations.has(own))
      else await this.#advance(amount % 50)
    }
  }

  #use(kind: Kind, sandbox: KnownSandbox, pick: number, amount: number): void {
    const { runtime } = this.simulation
    switch (kind) {
      case 'get':
        this.#get(sandbox)
        break
      case 'renew':
        this.#renew(sandbox, pick, amount)
        break
      case 'pause':
      case 'resume':
        this.#turn(sandbox, kind)
        break
      case 'delete':
        this.#delete(sandbox)
        break
      case 'patch':
        this.#patch(sandbox, pick)
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
        runtime.turn(sandbox.id, pick % 2 === 0 ? 'paused' : 'running')
        break
      default:
        throw new Error(`no step ${kind}`)
    }
  }

  #create(kind: 'create' | 'claim' | 'leave', pick: number, amount: number): void {
    const isPooled = kind === 'claim'
    const tenant = isPooled ? POOL.tenant : (TENANTS[pick % TENANTS.length] ?? 'red')
    const marker = `op-${++this.#names}`
    const timeout = amount % 3 === 0 ? undefined : 60 + (amount % 600)
    const shape = isPooled
      ? {
          extensions: { poolRef: 'p' },
          ...(pick % 2 === 0 && { networkPolicy: { egress: [{ action: 'allow', target: 'a.example' }] } }),
          ...(pick % 5 === 0 && { env: { A: 'b' } }),
        }
      : {
          image: { uri: 'debian', ...(pick % 7 === 0 && { auth: { username: 'u', password: 'p' } }) },
          entrypoint: ['sleep', '1000'],
          resourceLimits: { cpu: '500m', memory: '64Mi' },
        }
    const isOnce = pick % 3 === 0
    const leaving = new AbortController()
    if (kind === 'leave') setTimeout(() => leaving.abort(), 1 + (amount % 300))
    this.#creating.set(marker, { tenant, isPooled })
    const quotaBefore = this.#quotas[tenant]
    const changesBefore = this.#quotaChanges
    const about = this.#circumstances()
    const call: Call = {
      method: 'POST',
      path: '/v1/sandboxes',
      key: this.#keys[tenant] ?? '',
      body: { ...shape, metadata: { [marker]: 'x' }, ...(timeout !== undefined && { timeout }) },
      headers: isOnce ? { 'idempotency-key': marker } : {},
    }
    this.#ask(
      kind === 'leave' ? { ...call, signal: leaving.signal } : call,
      (answer) => {
        this.#creating.delete(marker)
        const { status, body } = answer
        if (status === 202) {
          if (kind === 'leave' && leaving.signal.aborted) {
            // The answer and the leaving crossed.
            this.#lostCreates.set(marker, { tenant, isPooled })
            return
          }
          const expiresAt =
            body.expiresAt === undefined ? null : (parseMoment(String(body.expiresAt)) ?? Number.NaN)
          if ((expiresAt === null) !== (timeout === undefined))
            this.#fault(`create answered expiresAt ${expiresAt}`)
          const sandbox = this.#meet(String(body.id), tenant, { expiresAt, isPooled, marker })
          const { state } = body.status as { state: string }
          if (state !== 'Running' && state !== 'Pending') this.#fault(`create answered the state ${state}`)
          if (state === 'Running' && !this.#hadTrouble(about)) sandbox.exact = 'Running'
          if (quotaBefore !== undefined && changesBefore === this.#quotaChanges) {
            const certain = this.#known.filter(
              (other) =>
                other.tenant === tenant && other.mustLive() && other.exact && other.exact !== 'Ended',
            ).length
            if (certain > quotaBefore)
              this.#fault(`${certain} sandboxes of ${tenant} above its quota of ${quotaBefore}`)
          }
          return
        }
        this.#failedCreates.add(marker)
        const code = String(body.code)
        const rows = this.simulation.isServing
          ? this.simulation.store.all().filter((row) => row.tenant === tenant && !row.warm)
          : []
        const possible = Math.max(rows.length, this.#known.filter((other) => other.tenant === tenant).length)
        const isLegal =
          (status === 403 &&
            code === 'KUBERNETES::QUOTA_EXCEEDED' &&
            (changesBefore !== this.#quotaChanges ||
              (quotaBefore !== undefined && possible + this.#creating.size >= quotaBefore))) ||
          (isPooled && status === 429 && code === 'KUBERNETES::POOL_CAPACITY_EXHAUSTED') ||
          (status === 500 &&
            code === 'DOCKER::SANDBOX_START_FAILED' &&
            (this.#hadTrouble(about) || isPooled)) ||
          (status === 409 &&
            code === 'DOCKER::SANDBOX_DELETED' &&
            (leaving.signal.aborted || this.#hadJump(about))) ||
          (status === 404 && code === 'DOCKER::SANDBOX_NOT_FOUND' && this.#hadJump(about)) ||
          (status === 503 && !this.simulation.isServing)
        if (!isLegal) this.#fault(`create answered ${status} ${answer.text}`)
      },
      () => {
        this.#creating.delete(marker)
        this.#lostCreates.set(marker, { tenant, isPooled })
        if (isOnce) this.#orders.set(marker, { call, tenant, isPooled })
      },
    )
  }

  /** Asks once more for what was asked for by a key and not answered: there is one sandbox of it at most. */
  #retry(): void {
    const [marker, order] = [...this.#orders][0] ?? []
    if (!marker || !order) return
    this.#orders.delete(marker)
    this.#creating.set(marker, order)
    this.#ask(
      order.call,
      ({ status, body, text }) => {
        this.#creating.delete(marker)
        if (status !== 202) {
          if (String(body.code) === 'GENERAL::UNKNOWN_ERROR' || status === 422)
            this.#fault(`a create that was sent again answered ${status} ${text}`)
          return
        }
        const id = String(body.id)
        const known = this.#known.find(({ labels }) => labels.has(marker))
        if (known && known.id !== id)
          this.#fault(`a create that was sent again made ${id} beside ${known.id}`)
        const row = this.simulation.store.get(id)
        this.#lostCreates.delete(marker)
        if (!known && row && !row.hidden && !this.#gone.has(id))
          this.#meet(id, order.tenant, { expiresAt: row.expiresAt, isPooled: order.isPooled, marker })
      },
      () => {
        this.#creating.delete(marker)
        this.#lostCreates.set(marker, order)
        this.#orders.set(marker, order)
      },
    )
  }

  #get(sandbox: KnownSandbox): void {
    this.#ask(this.#of(sandbox, 'GET', ''), (answer) => this.#judgeShown(sandbox, answer, 'get'))
  }

  #renew(sandbox: KnownSandbox, pick: number, amount: number): void {
    const seconds = pick % 4 === 0 ? 5 + (amount % 60) : 60 + (amount % 4000)
    const wanted = this.simulation.now() + seconds * 1000 + (++this.#names % 1000)
    const { hasEnd } = sandbox
    const asked = sandbox.beginRenewal(wanted)
    const began = ++this.#clock
    this.#ask(
      this.#of(sandbox, 'POST', '/renew-expiration', { expiresAt: new Date(wanted).toISOString() }),
      (answer) => {
        const { status, body } = answer
        if (status === 200) {
          if (!hasEnd) this.#fault(`renew gave an end to a sandbox without one: ${answer.text}`)
          if (parseMoment(String(body.expiresAt)) !== wanted)
            this.#fault(`renew answered ${answer.text} for ${wanted}`)
          if (sandbox.isDeleted) this.#fault('renew of a deleted sandbox succeeded')
          sandbox.settleRenewal(asked, began, ++this.#clock)
          sandbox.mayBeExpired = sandbox.earliestEnd <= this.simulation.now()
          return
        }
        sandbox.refuseRenewal(asked)
        if (status === 409 && (!hasEnd || !sandbox.mustLive())) return
        if (this.#isGoneLegally(sandbox, status)) return
        this.#fault(`renew answered ${status} ${answer.text}`)
      },
      () => (hasEnd ? sandbox.loseRenewal(asked, ++this.#clock) : sandbox.refuseRenewal(asked)),
    )
  }

  #turn(sandbox: KnownSandbox, kind: 'pause' | 'resume'): void {
    const [from, to] = kind === 'pause' ? (['Running', 'Paused'] as const) : (['Paused', 'Running'] as const)
    const before = sandbox.exact
    sandbox.exact = undefined
    const about = this.#circumstances(sandbox)
    sandbox.busy++
    sandbox.touched++
    this.#ask(
      this.#of(sandbox, 'POST', `/${kind}`),
      (answer) => {
        sandbox.busy--
        const { status } = answer
        const isAlone = about.busy === 0 && about.touched + 1 === sandbox.touched && sandbox.mustLive()
        if (status === 202) {
          if (isAlone && before && before !== from)
            this.#fault(`${kind} of a sandbox that is ${before} answered 202`)
          if (isAlone) sandbox.exact = to
          return
        }
        if (status === 409) {
          if (isAlone && before === from && !this.#hadTrouble(about))
            this.#fault(`${kind} of a sandbox that is ${before} answered 409 ${answer.text}`)
          if (isAlone && before !== from) sandbox.exact = before
          return
        }
        if (
          status === 500 &&
          (sandbox.isDisturbed || this.#hadTrouble(about)) &&
          String(answer.body.code).startsWith('DOCKER::')
        )
          return
        if (this.#isGoneLegally(sandbox, status)) return
        this.#fault(`${kind} answered ${status} ${answer.text}`)
      },
      () => void sandbox.busy--,
    )
  }

  #delete(sandbox: KnownSandbox): void {
    const about = this.#circumstances(sandbox)
    const couldBeGone = !sandbox.mustLive()
    sandbox.mayBeDeleted = true
    sandbox.touched++
    this.#ask(this.#of(sandbox, 'DELETE', ''), (answer) => {
      const { status } = answer
      if (status === 204) sandbox.isDeleted = true
      else if (
        status === 404 &&
        (couldBeGone || sandbox.isDeleted || sandbox.mayBeExpired || about.touched + 1 !== sandbox.touched)
      )
        return
      else if (
        status === 500 &&
        answer.body.code === 'DOCKER::SANDBOX_DELETE_FAILED' &&
        this.#hadTrouble(about)
      )
        return
      else this.#fault(`delete answered ${status} ${answer.text}`)
    })
  }

  #patch(sandbox: KnownSandbox, pick: number): void {
    const removable = [...sandbox.labels].filter(([key, state]) => state === 'set' && !key.startsWith('op-'))
    const [removed] = pick % 3 === 0 ? (removable[0] ?? []) : []
    const added = `k${++this.#names}`
    const patch: Record<string, string | null> = { [added]: 'x', ...(removed && { [removed]: null }) }
    for (const key of Object.keys(patch)) sandbox.labels.set(key, 'maybe')
    this.#ask(this.#of(sandbox, 'PATCH', '/metadata', patch), (answer) => {
      if (answer.status === 200) {
        sandbox.labels.set(added, 'set')
        if (removed) sandbox.labels.set(removed, 'removed')
        this.#judgeShown(sandbox, answer, 'patch')
      } else if (!this.#isGoneLegally(sandbox, answer.status))
        this.#fault(`patch answered ${answer.status} ${answer.text}`)
    })
  }

  /** Somebody else tries, and somebody tries what nobody has made. */
  async #beStranger(sandbox: KnownSandbox | undefined, pick: number): Promise<void> {
    const key = this.#keys[sandbox?.tenant === 'red' ? 'blue' : 'red'] ?? ''
    const foreign = [...this.simulation.runtime.foreign.keys()][0] ?? ''
    const id = pick % 2 === 0 ? foreign : (sandbox?.id ?? foreign)
    const tries: [string, string, unknown?][] = [
      ['GET', ''],
      ['DELETE', ''],
      ['POST', '/pause'],
      ['PATCH', '/metadata', { stolen: 'x' }],
      ['POST', '/renew-expiration', { expiresAt: '2099-01-01' }],
    ]
    for (const [method, path, body] of tries) {
      const answer = await this.#wait({
        method,
        path: `/v1/sandboxes/${id}${path}`,
        key,
        ...(body !== undefined && { body }),
      })
      if (answer.status !== 404)
        this.#fault(`${method} ${path} by a stranger answered ${answer.status} ${answer.text}`)
    }
  }

  #changeKeys(pick: number, amount: number): void {
    const open = this.#made.filter(({ state }) => state === 'opens')
    const old = open[pick % Math.max(open.length, 1)]
    if (!old || (amount % 3 === 0 && open.length < 5)) {
      const body = { name: `key-${++this.#names}`, role: 'read-only', tenant: TENANTS[pick % 2] }
      this.#ask({ method: 'POST', path: '/v1/admin/keys', body }, ({ status, body, text }) => {
        if (status !== 201) this.#fault(`the making of a key answered ${status} ${text}`)
        this.#made.push({ id: String(body.id), secret: String(body.key), state: 'opens' })
      })
      return
    }
    old.state = 'maybe'
    if (amount % 3 === 1)
      this.#ask({ method: 'DELETE', path: `/v1/admin/keys/${old.id}` }, ({ status, text }) => {
        if (status !== 204) this.#fault(`the revocation of a key answered ${status} ${text}`)
        old.state = 'revoked'
      })
    else
      this.#ask(
        { method: 'POST', path: `/v1/admin/keys/${old.id}/rotate`, body: { graceSeconds: 0 } },
        ({ status, body, text }) => {
          if (status !== 201) this.#fault(`the rotation of a key answered ${status} ${text}`)
          old.state = 'revoked'
          this.#made.push({ id: String(body.id), secret: String(body.key), state: 'opens' })
        },
      )
  }

  #changeQuota(pick: number, amount: number): void {
    const tenant = TENANTS[pick % 2] ?? 'red'
    this.#quotaChanges++
    const sandboxes = 4 + (amount % 8)
    this.#ask(
      { method: 'PUT', path: `/v1/admin/tenants/${tenant}/quota`, body: { sandboxes } },
      ({ status, text }) => {
        if (status !== 200) this.#fault(`a quota answered ${status} ${text}`)
        this.#quotas[tenant] = sandboxes
        this.#quotaChanges++
      },
      () => {
        this.#quotas[tenant] = undefined
        this.#quotaChanges++
      },
    )
  }

  #changePool(pick: number): void {
    const template = {
      image: 'debian',
      entrypoint: ['sleep', String(pick % 3)],
      resourceLimits: { cpu: '1', memory: '64Mi' },
    }
    this.#ask(
      {
        method: 'PUT',
        path: `/v1/pools/p?tenant=${POOL.tenant}`,
        body: {
          capacitySpec: {
            bufferMin: POOL.bufferMin,
            bufferMax: POOL.bufferMax,
            poolMin: 0,
            poolMax: POOL.poolMax,
          },
          ...(pick % 2 === 0 && { template }),
        },
      },
      ({ status, text }) => {
        if (status !== 200) this.#fault(`a pool answered ${status} ${text}`)
      },
    )
  }

  /** Sets the clock. Ends are spans, and move along while control runs; while it does not, nobody knows of the jump. */
  async #jump(ms: number): Promise<void> {
    const { simulation } = this
    // What is on its way is there before.
    await this.#advance(1)
    const { isServing } = simulation
    const before = new Set(this.#known)
    simulation.jump(ms)
    this.#jumps++
    this.#jumpedAt = simulation.time.elapsed()
    if (isServing) {
      // Whoever asks makes control look at the clock.
      this.simulation
        .call({ method: 'GET', path: '/v1/sandboxes?pageSize=1', key: this.#keys.red ?? '' })
        .catch(() => {})
      await simulation.time.advance(0)
      for (const sandbox of this.#known) sandbox.shift(ms, !simulation.isServing || !before.has(sandbox))
    }
    this.#noteTime()
  }

  async #stop(): Promise<void> {
    await this.simulation.stop()
    if (this.#operations.size > 0)
      this.#fault(`${this.#operations.size} requests were not answered at a stop`)
    this.simulation.deaths++
  }

  /** Starts control again, and sees that what was acknowledged is there. */
  async #recover(downMs: number): Promise<void> {
    this.#afterDeath()
    await this.#advance(downMs)
    for (let attempt = 0; !this.simulation.isServing; attempt++) {
      if (attempt > 5) this.#fault('control does not start')
      await this.simulation.start()
      this.#afterDeath()
      this.#noteTime()
    }
    await this.#unlessDead(async () => {
      await this.#checkList()
      await this.#checkKeys()
    })
    if (!this.simulation.isServing) await this.#recover(0)
  }

  /** Does something that control's death may cut short. */
  async #unlessDead(work: () => Promise<void>): Promise<void> {
    const { deaths } = this.simulation
    try {
      await work()
    } catch (error) {
      if (deaths === this.simulation.deaths) throw error
    }
  }

  /** What was under way when control died is lost. */
  #afterDeath(): void {
    if (this.#deaths === this.simulation.deaths) return
    this.#deaths = this.simulation.deaths
    for (const { lost } of this.#operations) lost()
    this.#operations.clear()
  }

  /** Lets everything calm down, and then holds everything against everything. */
  async #settle(): Promise<void> {
    const { simulation } = this
    simulation.calm()
    await this.#advance(LONGEST_OPERATION_MS, () => this.#operations.size === 0)
    if (!simulation.isServing) return
    if (this.#operations.size > 0) this.#fault(`${this.#operations.size} requests are never answered`)
    await this.#until(AGREEMENT_MS, () => findDisagreements(simulation))
    await this.#until(POOL_AGREEMENT_MS, () => [
      ...findDisagreements(simulation),
      ...findPoolProblems(simulation, POOL),
    ])
    await this.#checkList({ isCalm: true })
    await this.#checkKeys()
    const inLog = findLogProblems(simulation)
    if (inLog.length > 0) this.#fault(inLog.slice(0, 5).join('; '))
    await this.#checkUsage()
    this.#requireNoFault()
  }

  async #until(ms: number, problems: () => string[]): Promise<void> {
    const end = this.simulation.time.elapsed() + ms
    let found = problems()
    while (found.length > 0 && this.simulation.time.elapsed() < end) {
      await this.#advance(250)
      found = problems()
    }
    if (found.length > 0) this.#fault(`after ${ms / 1000} s of calm: ${found.join('; ')}`)
  }

  /** What is listed is what was acknowledged. */
  async #checkList({ isCalm = false } = {}): Promise<void> {
    const answer = await this.#wait({ method: 'GET', path: '/v1/sandboxes?pageSize=200' })
    if (answer.status !== 200) this.#fault(`list answered ${answer.status} ${answer.text}`)
    const items = new Map(
      (answer.body.items as { id: string; metadata?: Record<string, string> }[]).map((item) => [
        item.id,
        item,
      ]),
    )
    for (const [id, item] of items) {
      if (this.#gone.has(id)) this.#fault(`${id} is listed again after its end`)
      const known = this.#known.find((other) => other.id === id)
      if (known) this.#judgeShown(known, { ...answer, body: { ...item } }, 'list')
      else this.#discover(id, item.metadata ?? {}, isCalm)
    }
    for (const sandbox of [...this.#known]) {
      if (items.has(sandbox.id)) continue
      if (sandbox.mustLive()) this.#fault(`${sandbox.id} was acknowledged, and is not listed`)
      this.#forget(sandbox)
    }
    if (isCalm) this.#checkStates()
  }

  /** A sandbox whose create was not answered: it may be there, as a whole one. */
  #discover(id: string, metadata: Record<string, string>, isCalm: boolean): void {
    const marker = Object.keys(metadata).find((key) => key.startsWith('op-')) ?? ''
    if (this.#creating.has(marker)) return
    if (this.#failedCreates.has(marker)) {
      if (isCalm) this.#fault(`${id} is listed, but its create was answered with a failure`)
      return
    }
    const lost = this.#lostCreates.get(marker)
    if (!lost) throw new Error(`${id} is listed, and nobody has made it: ${JSON.stringify(metadata)}`)
    const row = this.simulation.store.get(id)
    // Begun by a life that ended before it said so to anybody: it goes soon.
    if (!row?.acknowledged) return
    this.#lostCreates.delete(marker)
    const { expiresAt } = row
    this.#meet(id, lost.tenant, { expiresAt, isPooled: lost.isPooled, marker })
  }

  /** Nothing is under way: what each sandbox is in is known for certain. */
  #checkStates(): void {
    for (const sandbox of this.#known) {
      const row = this.simulation.store.get(sandbox.id)
      if (!row) continue
      const shown = row.state === 'Running' || row.state === 'Paused' ? row.state : 'Ended'
      if (sandbox.exact && sandbox.exact !== shown)
        this.#fault(`${sandbox.id} is ${shown}, and was acknowledged as ${sandbox.exact}`)
      sandbox.exact = shown
      sandbox.isDisturbed = false
      // What was asked and not answered has been done by now, or never will be.
      if (!sandbox.isDeleted) sandbox.mayBeDeleted = false
      if (row.expiresAt === null || row.expiresAt > this.simulation.now()) sandbox.mayBeExpired = false
      sandbox.observeExpiry(row.expiresAt, ++this.#clock)
    }
    this.#lostCreates.clear()
  }

  async #checkKeys(): Promise<void> {
    for (const { secret, state, id } of this.#made) {
      if (state === 'maybe') continue
      const { status } = await this.#wait({ method: 'GET', path: '/v1/sandboxes?pageSize=1', key: secret })
      if (status !== (state === 'opens' ? 200 : 401))
        this.#fault(`the key ${id} that ${state} was answered ${status}`)
    }
  }

  async #checkUsage(): Promise<void> {
    const rows = new Map(this.simulation.store.all().map((row): [string, SandboxRow] => [row.id, row]))
    for (const tenant of TENANTS) {
      const things = [...this.simulation.runtime.things.values()].filter(({ id, state }) => {
        const row = rows.get(id)
        return row?.tenant === tenant && !row.warm && state !== 'exited'
      })
      const { body } = await this.#wait({ method: 'GET', path: `/v1/admin/tenants/${tenant}` })
      const { sandboxes } = body.used as { sandboxes: number }
      if (sandboxes !== things.length)
        this.#fault(`${tenant} has ${things.length} sandboxes, and ${sandboxes} are counted`)
    }
  }

  #judgeShown(sandbox: KnownSandbox, answer: Answer, what: string): void {
    const { status, body } = answer
    if (status !== 200) {
      if (!this.#isGoneLegally(sandbox, status))
        this.#fault(`${what} of ${sandbox.id} answered ${status} ${answer.text}`)
      return
    }
    if (sandbox.isDeleted) this.#fault(`${what} shows ${sandbox.id}, whose deletion was acknowledged`)
    const problem = sandbox.labelProblem((body.metadata ?? {}) as Record<string, string>)
    if (problem) this.#fault(`${what} of ${sandbox.id}: ${problem}`)
    const shown = body.expiresAt === undefined ? null : (parseMoment(String(body.expiresAt)) ?? Number.NaN)
    if (!sandbox.expiries.includes(shown))
      this.#fault(`${what} of ${sandbox.id} shows the end ${shown}, which is none of ${sandbox.expiries}`)
  }

  #isGoneLegally(sandbox: KnownSandbox, status: number): boolean {
    return status === 404 && !sandbox.mustLive()
  }

  #meet(
    id: string,
    tenant: string,
    { marker, ...more }: { expiresAt: number | null; isPooled: boolean; marker: string },
  ): KnownSandbox {
    if (this.#gone.has(id) || this.#known.some((other) => other.id === id))
      this.#fault(`${id} was given out twice`)
    const sandbox = new KnownSandbox(id, tenant, more)
    sandbox.labels.set(marker, 'set')
    sandbox.mayBeExpired = sandbox.earliestEnd <= this.simulation.now()
    this.#known.push(sandbox)
    return sandbox
  }

  #forget(sandbox: KnownSandbox): void {
    this.#known.splice(this.#known.indexOf(sandbox), 1)
    this.#gone.add(sandbox.id)
  }

  /** Lets time pass in pieces, with a look at the deadlines after each. */
  async #advance(ms: number, until: () => boolean = () => false): Promise<void> {
    const { simulation } = this
    const end = simulation.time.elapsed() + ms
    const isOver = () => until() || this.#deaths !== simulation.deaths
    do {
      await simulation.time.advance(Math.min(500, Math.max(end - simulation.time.elapsed(), 0)), isOver)
      this.#noteTime()
    } while (!isOver() && simulation.time.elapsed() < end)
  }

  #noteTime(): void {
    const { simulation } = this
    const now = simulation.now()
    for (const sandbox of this.#known) if (sandbox.earliestEnd <= now) sandbox.mayBeExpired = true
    if (simulation.servesSince === undefined) return
    const quietMs = simulation.time.elapsed() - Math.max(simulation.servesSince, this.#jumpedAt)
    for (const { id, latestEnd } of this.#known) {
      const lateMs = Math.min(now - latestEnd, quietMs)
      if (lateMs < 0) continue
      const row = simulation.store.get(id)
      if (!row || row.hidden) continue
      this.worstLatenessMs = Math.max(this.worstLatenessMs, lateMs)
      if (lateMs > LATENESS_MS)
        this.#fault(`${id} is there ${lateMs} ms after its time was over (${row.state})`)
    }
  }

  #of(sandbox: KnownSandbox, method: string, path: string, body?: unknown): Call {
    const key = this.#keys[sandbox.tenant] ?? ''
    return { method, path: `/v1/sandboxes/${sandbox.id}${path}`, key, ...(body !== undefined && { body }) }
  }

  #circumstances(sandbox?: KnownSandbox): Circumstances {
    const { time, runtime } = this.simulation
    return {
      at: ++this.#clock,
      elapsed: time.elapsed(),
      jumps: this.#jumps,
      wasHanging: runtime.isHanging,
      busy: sandbox?.busy ?? 0,
      touched: sandbox?.touched ?? 0,
    }
  }

  #hadTrouble({ elapsed, wasHanging }: Circumstances): boolean {
    return wasHanging || this.simulation.runtime.troubledAt >= elapsed
  }

  #hadJump({ jumps }: Circumstances): boolean {
    return jumps !== this.#jumps
  }

  #ask(call: Call, answered: (answer: Answer) => void, lost: () => void = () => {}): void {
    const operation: Operation = { lost }
    this.#operations.add(operation)
    this.simulation.call(call).then(
      (answer) => {
        if (!this.#operations.delete(operation)) return
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
  async #wait(call: Call): Promise<Answer> {
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

  #requireNoFault(): void {
    const { faults, runtime } = this.simulation
    faults.push(...runtime.trespasses)
    for (const { state } of runtime.foreign.values())
      if (state !== 'running') faults.push('something foreign was touched')
    if (faults.length > 0) throw new Error(faults.join('\n'))
  }

  #fault(message: string): void {
    throw new Error(message)
  }
}
