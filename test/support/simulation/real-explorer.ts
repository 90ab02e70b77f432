// Random operations and faults on the whole product as it runs, held against what was acknowledged, and against what lies on the
// machine.

import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import { expect } from 'vitest'
import { cgroupParentOf, readCgroupLayout } from '../../../control/runtime/local/cgroup.ts'
import { interfaceOf } from '../../../control/runtime/sandbox-record.ts'
import type { SandboxState } from '../../../lib/api/lifecycle.ts'
import { type Instance, instanceOf } from '../../../lib/instance.ts'
import { type Edge, isAlive } from '../edge.ts'
import { KnownSandbox, LATENESS_MS, replayEvents } from './model.ts'
import { outputOf, runMaybe } from './programs.ts'
import { mulberry32 } from './simulation.ts'

/** All is calm, and looked at, once in so many steps. */
const SETTLE_EVERY = 50
const MAX_SANDBOXES = 6
const AGREEMENT_MS = 30_000
const POOL = { bufferMin: 1, bufferMax: 1, poolMin: 0, poolMax: 3 }
const SHAPE = { entrypoint: ['sleep', '600'], resourceLimits: { cpu: '200m', memory: '128Mi' } }

const KINDS = [
  ...Array<'create'>(5).fill('create'),
  ...Array<'claim'>(2).fill('claim'),
  ...Array<'get'>(3).fill('get'),
  ...Array<'renew'>(4).fill('renew'),
  ...Array<'shorten'>(1).fill('shorten'),
  ...Array<'pause'>(4).fill('pause'),
  ...Array<'resume'>(4).fill('resume'),
  ...Array<'delete'>(3).fill('delete'),
  ...Array<'patch'>(5).fill('patch'),
  ...Array<'key'>(1).fill('key'),
  ...Array<'kill'>(3).fill('kill'),
  ...Array<'fault'>(2).fill('fault'),
  'end' as const,
  'turn' as const,
  'destroy' as const,
  'unlink' as const,
]
type Kind = (typeof KINDS)[number]
type Answer = { status: number; body: Record<string, unknown> }
type Row = {
  id: string
  state: SandboxState
  warm: number
  hidden: number
  acknowledged: number
  expires_at: number | null
}

export class RealExplorer {
  readonly #edge: Edge
  readonly #instance: Instance
  readonly #random: () => number
  readonly #faultsDir: string
  readonly #known: KnownSandbox[] = []
  readonly #gone = new Set<string>()
  readonly #lost = new Set<string>()
  readonly #keys: { id: string; secret: string; opens: boolean | undefined }[] = []
  readonly #under = new Set<Promise<void>>()
  readonly #problems: string[] = []
  readonly trace: string[] = []
  #names = 0
  #clock = 0
  #kills = 0
  #servesSince = Date.now()
  #faultAt = 0

  constructor(edge: Edge, faultsDir: string, seed: number) {
    this.#edge = edge
    this.#instance = instanceOf(edge.dataDir)
    this.#faultsDir = faultsDir
    this.#random = mulberry32(seed)
  }

  async explore(steps: number): Promise<void> {
    const pool = { name: 'p', template: { image: 'host', ...SHAPE }, capacitySpec: POOL }
    expect((await this.#call('POST', '/v1/pools', pool))?.status).toBe(201)
    for (let step = 1; step <= steps; step++) {
      const kind = this.#pick(KINDS)
      this.trace.push(`${step} ${kind}`)
      await this.#take(kind)
      if (this.#random() < 0.6) await this.#finish()
      this.#checkDeadlines()
      if (step % SETTLE_EVERY === 0 || step === steps) await this.#settle()
      if (this.#problems.length > 0) throw new Error(this.#problems.join('\n'))
    }
  }

  async #take(kind: Kind): Promise<void> {
    const sandbox = this.#known.length > 0 ? this.#pick(this.#known) : undefined
    if (kind === 'create' || kind === 'claim') {
      if (this.#known.length + this.#under.size < MAX_SANDBOXES) this.#do(this.#create(kind))
    } else if (kind === 'key') this.#do(this.#changeKeys())
    else if (kind === 'kill') await this.#kill()
    else if (kind === 'fault') this.#arm()
    else if (sandbox) await this.#use(kind, sandbox)
  }

  async #use(kind: Kind, sandbox: KnownSandbox): Promise<void> {
    switch (kind) {
      case 'get':
        return this.#do(this.#get(sandbox))
      case 'renew':
        return this.#do(this.#renew(sandbox, 60_000 + this.#random() * 500_000))
      case 'shorten':
        return this.#do(this.#renew(sandbox, 3000 + this.#random() * 4000))
      case 'pause':
      case 'resume':
        return this.#do(this.#turn(sandbox, kind))
      case 'delete':
        return this.#do(this.#delete(sandbox))
      case 'patch':
        return this.#do(this.#patch(sandbox))
      case 'end':
        return this.#behindItsBack(sandbox, () => this.#runc(['kill', sandbox.id, 'KILL']))
      case 'turn':
        return this.#behindItsBack(sandbox, () =>
          this.#runc([this.#random() < 0.5 ? 'pause' : 'resume', sandbox.id]),
        )
      case 'destroy':
        return this.#behindItsBack(sandbox, () => this.#runc(['delete', '--force', sandbox.id]))
      case 'unlink':
        return this.#behindItsBack(sandbox, () =>
          runMaybe('ip', ['link', 'del', interfaceOf(sandbox.id, this.#instance.interfacePrefix)]),
        )
      default:
        throw new Error(`no step ${kind}`)
    }
  }

  #behindItsBack(sandbox: KnownSandbox, act: () => void): void {
    sandbox.disturb()
    act()
  }

  async #create(kind: 'create' | 'claim'): Promise<void> {
    const marker = `op-${++this.#names}`
    const timeout = this.#random() < 0.3 ? undefined : 60 + Math.floor(this.#random() * 500)
    const shape = kind === 'claim' ? { extensions: { poolRef: 'p' } } : { image: { uri: 'host' }, ...SHAPE }
    this.#lost.add(marker)
    const began = Date.now()
    const answer = await this.#call('POST', '/v1/sandboxes', {
      ...shape,
      metadata: { [marker]: 'x' },
      ...(timeout !== undefined && { timeout }),
    })
    if (!answer) return
    if (answer.status === 202) {
      this.#lost.delete(marker)
      const expiresAt = answer.body.expiresAt === undefined ? null : Date.parse(String(answer.body.expiresAt))
      const met = this.#meet(String(answer.body.id), marker, expiresAt)
      if (met && (answer.body.status as { state: string }).state === 'Running') met.exact = 'Running'
    } else if (answer.status === 429 && kind === 'claim') this.#lost.delete(marker)
    else if (answer.status === 500 && this.#hadFault(began)) this.#lost.delete(marker)
    else this.#fault('create', answer)
  }

  async #get(sandbox: KnownSandbox): Promise<void> {
    const answer = await this.#of(sandbox, 'GET', '')
    if (answer) this.#judge(sandbox, answer, 'get')
  }

  async #renew(sandbox: KnownSandbox, ms: number): Promise<void> {
    const wanted = Math.round(Date.now() + ms)
    const { hasEnd } = sandbox
    const asked = sandbox.beginRenewal(wanted)
    const began = ++this.#clock
    const answer = await this.#of(sandbox, 'POST', '/renew-expiration', {
      expiresAt: new Date(wanted).toISOString(),
    })
    this.#noteTime()
    if (!answer) {
      if (hasEnd) sandbox.loseRenewal(asked, ++this.#clock)
      else sandbox.refuseRenewal(asked)
    } else if (answer.status === 200) {
      if (!hasEnd || sandbox.isDeleted) this.#fault('renew', answer)
      sandbox.settleRenewal(asked, began, ++this.#clock)
      sandbox.mayBeExpired = sandbox.earliestEnd <= Date.now()
    } else {
      sandbox.refuseRenewal(asked)
      if (answer.status === 409 ? hasEnd && sandbox.mustLive() : !this.#isGone(sandbox, answer))
        this.#fault('renew', answer)
    }
  }

  async #turn(sandbox: KnownSandbox, kind: 'pause' | 'resume'): Promise<void> {
    const [from, to] = kind === 'pause' ? (['Running', 'Paused'] as const) : (['Paused', 'Running'] as const)
    const before = sandbox.exact
    const wasAlone = sandbox.busy === 0
    sandbox.exact = undefined
    sandbox.busy++
    const touched = ++sandbox.touched
    const began = Date.now()
    const answer = await this.#of(sandbox, 'POST', `/${kind}`)
    sandbox.busy--
    if (!answer) return
    const isAlone = wasAlone && touched === sandbox.touched && sandbox.mustLive()
    if (answer.status === 202) {
      if (isAlone && before && before !== from) this.#fault(`${kind} of one that is ${before}`, answer)
      if (isAlone) sandbox.exact = to
    } else if (answer.status === 409) {
      if (isAlone && before === from) this.#fault(`${kind} of one that is ${before}`, answer)
      if (isAlone && before) sandbox.exact = before
    } else if (answer.status !== 500 || !(this.#hadFault(began) || sandbox.isDisturbed)) {
      if (!this.#isGone(sandbox, answer)) this.#fault(kind, answer)
    }
  }

  async #delete(sandbox: KnownSandbox): Promise<void> {
    const couldBeGone = !sandbox.mustLive()
    sandbox.mayBeDeleted = true
    sandbox.touched++
    const began = Date.now()
    const answer = await this.#of(sandbox, 'DELETE', '')
    if (!answer) return
    if (answer.status === 204) sandbox.isDeleted = true
    else if (answer.status === 500 && this.#hadFault(began)) return
    else if (answer.status !== 404 || !(couldBeGone || sandbox.isDeleted || sandbox.mayBeExpired))
      this.#fault('delete', answer)
  }

  async #patch(sandbox: KnownSandbox): Promise<void> {
    const removed = [...sandbox.labels].find(([key, state]) => state === 'set' && !key.startsWith('op-'))?.[0]
    const takesAway = removed !== undefined && this.#random() < 0.4
    const added = `k${++this.#names}`
    const patch: Record<string, string | null> = { [added]: 'x', ...(takesAway && { [removed]: null }) }
    for (const key of Object.keys(patch)) sandbox.labels.set(key, 'maybe')
    const answer = await this.#of(sandbox, 'PATCH', '/metadata', patch)
    if (!answer) return
    if (answer.status !== 200) {
      if (!this.#isGone(sandbox, answer)) this.#fault('patch', answer)
      return
    }
    sandbox.labels.set(added, 'set')
    if (takesAway) sandbox.labels.set(removed, 'removed')
    this.#judge(sandbox, answer, 'patch')
  }

  async #changeKeys(): Promise<void> {
    const old = this.#keys.find(({ opens }) => opens)
    if (!old || this.#random() < 0.5) {
      const answer = await this.#call('POST', '/v1/admin/keys', {
        name: `key-${++this.#names}`,
        role: 'read-only',
      })
      if (answer)
        this.#keys.push({ id: String(answer.body.id), secret: String(answer.body.key), opens: true })
      return
    }
    old.opens = undefined
    const answer = await this.#call('DELETE', `/v1/admin/keys/${old.id}`)
    if (answer) old.opens = false
  }

  /** SIGKILL of control, perhaps while something is under way, and everything it has acknowledged is there again. */
  async #kill(): Promise<void> {
    if (this.#random() < 0.7) await delay(this.#random() * 250)
    const pid = controlPid(this.#edge)
    process.kill(pid, 'SIGKILL')
    this.#kills++
    await expect.poll(() => isAlive(pid)).toBe(false)
    await this.#finish()
    await expect.poll(() => controlPid(this.#edge) > 0 && controlPid(this.#edge) !== pid).toBe(true)
    await expect
      .poll(async () => (await this.#call('GET', '/v1/sandboxes?pageSize=1'))?.status, {
        timeout: 30_000,
        interval: 50,
      })
      .toBe(200)
    this.#servesSince = Date.now()
    await this.#checkList()
  }

  /** The next call of runc of some kind fails. */
  #arm(): void {
    this.#faultAt = Date.now()
    writeFileSync(join(this.#faultsDir, this.#pick(['run', 'pause', 'resume', 'delete'])), '')
  }

  async #finish(): Promise<void> {
    while (this.#under.size > 0) await Promise.all(this.#under)
  }

  /** Nothing goes wrong any more, and control looks at everything anew. */
  async #settle(): Promise<void> {
    for (const name of readdirSync(this.#faultsDir)) rmSync(join(this.#faultsDir, name))
    await this.#finish()
    await this.#kill()
    await expect
      .poll(() => this.#disagreements(), {
        timeout: AGREEMENT_MS,
        interval: 100,
        message: this.trace.slice(-60).join(', '),
      })
      .toEqual([])
    await this.#checkList()
    const rows = new Map(this.#rows().map((row) => [row.id, row]))
    for (const sandbox of this.#known) {
      const row = rows.get(sandbox.id)
      if (!row) continue
      const shown = row.state === 'Running' || row.state === 'Paused' ? row.state : 'Ended'
      if (sandbox.exact && sandbox.exact !== shown)
        this.#problems.push(`${sandbox.id} is ${shown}, and was acknowledged as ${sandbox.exact}`)
      sandbox.exact = shown
      sandbox.isDisturbed = false
      if (!sandbox.isDeleted) sandbox.mayBeDeleted = false
      sandbox.mayBeExpired = row.expires_at !== null && row.expires_at <= Date.now()
      sandbox.observeExpiry(row.expires_at, ++this.#clock)
    }
    for (const { secret, opens, id } of this.#keys) {
      if (opens === undefined) continue
      const status = (await this.#call('GET', '/v1/sandboxes?pageSize=1', undefined, secret))?.status
      if (status !== (opens ? 200 : 401)) this.#problems.push(`the key ${id} is answered ${status}`)
    }
    this.#faultAt = 0
  }

  /** What is on the machine of which there is no row, and the other way round. */
  #disagreements(): string[] {
    const rows = this.#rows()
    const problems: string[] = []
    const there = this.#machine()
    const live = new Set<string>()
    const ended = new Set<string>()
    for (const { id, state, hidden, warm } of rows) {
      if (state === 'Running' || state === 'Paused') live.add(id)
      else if (state === 'Failed' || state === 'Terminated') ended.add(id)
      else problems.push(`${id} is ${state}`)
      if (hidden === 1 && warm === 0) problems.push(`${id} is hidden from everybody`)
    }
    for (const [kind, ids] of Object.entries(there)) {
      const isNamedByHash = kind === 'interfaces' || kind === 'rules'
      const name = (id: string) => (isNamedByHash ? interfaceOf(id, this.#instance.interfacePrefix) : id)
      const wanted = new Set([...live].map(name))
      const allowed = new Set([...live, ...ended].map(name))
      for (const id of ids) if (!allowed.has(id)) problems.push(`${kind}: ${id} belongs to no row`)
      // Its interface is the one thing that can be gone while the sandbox goes on.
      if (kind !== 'interfaces')
        for (const id of wanted) if (!ids.has(id)) problems.push(`${kind}: ${id} has none`)
    }
    const { problems: inLog, states } = replayEvents(this.#events())
    problems.push(...inLog)
    for (const { id, state, warm } of rows)
      if (warm === 0 && states.get(id) !== state)
        problems.push(`${id} is ${state}, and ${states.get(id)} in the log`)
    for (const id of states.keys())
      if (!rows.some((row) => row.id === id)) problems.push(`${id} is gone, and not in the log`)
    const warm = rows.filter((row) => row.warm === 1)
    if (warm.length > POOL.bufferMax) problems.push(`${warm.length} are warm`)
    return problems
  }

  #machine(): Record<string, Set<string>> {
    const { interfacePrefix, key, runDir } = this.#instance
    const names = new RegExp(`${interfacePrefix}[0-9a-z]{8}`, 'g')
    const list = (folder: string) => new Set(existsSync(folder) ? readdirSync(folder) : [])
    const hierarchy = readCgroupLayout().version === 2 ? '' : 'memory'
    const cgroups = join('/sys/fs/cgroup', hierarchy, cgroupParentOf(key))
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').matchAll(
      new RegExp(`${runDir}/roots/([^ /]+) `, 'g'),
    )
    return {
      directories: list(join(this.#edge.dataDir, 'sandboxes')),
      containers: list(join(runDir, 'runc')),
      mounts: new Set([...mounts].map(([, id]) => id ?? '')),
      interfaces: new Set(outputOf('ip', ['-o', 'link']).match(names)),
      rules: new Set(outputOf('nft', ['list', 'table', 'inet', `opensandbox_${key}`]).match(names)),
      cgroups: new Set(
        existsSync(cgroups)
          ? readdirSync(cgroups, { withFileTypes: true }).flatMap((entry) =>
              entry.isDirectory() ? [entry.name] : [],
            )
          : [],
      ),
    }
  }

  async #checkList(): Promise<void> {
    const answer = await this.#call('GET', '/v1/sandboxes?pageSize=200')
    if (answer?.status !== 200) return void this.#problems.push(`list answered ${answer?.status}`)
    this.#noteTime()
    const items = new Map(
      (answer.body.items as { id: string; metadata?: Record<string, string> }[]).map((item) => [
        item.id,
        item,
      ]),
    )
    for (const [id, item] of items) {
      if (this.#gone.has(id)) this.#problems.push(`${id} is listed again after its end`)
      const known = this.#known.find((other) => other.id === id)
      if (known) {
        this.#judge(known, { status: 200, body: { ...item } }, 'list')
        continue
      }
      const marker = Object.keys(item.metadata ?? {}).find((key) => key.startsWith('op-')) ?? ''
      const row = this.#rows().find((row) => row.id === id)
      if (row && row.acknowledged === 0) continue
      if (!this.#lost.delete(marker)) this.#problems.push(`${id} is listed, and nobody has made it`)
      else if (row) this.#meet(id, marker, row.expires_at)
    }
    for (const sandbox of [...this.#known]) {
      if (items.has(sandbox.id)) continue
      if (sandbox.mustLive()) this.#problems.push(`${sandbox.id} was acknowledged, and is not listed`)
      this.#known.splice(this.#known.indexOf(sandbox), 1)
      this.#gone.add(sandbox.id)
    }
  }

  #checkDeadlines(): void {
    this.#noteTime()
    const rows = new Map(this.#rows().map((row) => [row.id, row]))
    const now = Date.now()
    for (const { id, latestEnd } of this.#known) {
      const lateMs = now - Math.max(latestEnd, this.#servesSince)
      const row = rows.get(id)
      if (lateMs > LATENESS_MS && row && row.hidden === 0)
        this.#problems.push(`${id} is there ${lateMs} ms after its time was over (${row.state})`)
    }
  }

  #noteTime(): void {
    for (const sandbox of this.#known) if (sandbox.earliestEnd <= Date.now()) sandbox.mayBeExpired = true
  }

  #judge(sandbox: KnownSandbox, answer: Answer, what: string): void {
    this.#noteTime()
    if (answer.status !== 200) {
      if (!this.#isGone(sandbox, answer)) this.#fault(what, answer)
      return
    }
    const problem = sandbox.labelProblem((answer.body.metadata ?? {}) as Record<string, string>)
    if (problem) this.#problems.push(`${what} of ${sandbox.id}: ${problem}`)
    const shown = answer.body.expiresAt === undefined ? null : Date.parse(String(answer.body.expiresAt))
    if (!sandbox.expiries.includes(shown))
      this.#problems.push(
        `${what} of ${sandbox.id} shows the end ${shown}, which is none of ${sandbox.expiries}`,
      )
  }

  #isGone(sandbox: KnownSandbox, { status }: Answer): boolean {
    this.#noteTime()
    return status === 404 && !sandbox.mustLive()
  }

  #meet(id: string, marker: string, expiresAt: number | null): KnownSandbox | undefined {
    if (this.#gone.has(id) || this.#known.some((other) => other.id === id)) {
      this.#problems.push(`${id} was given out twice`)
      return undefined
    }
    const sandbox = new KnownSandbox(id, 'default', { expiresAt, isPooled: false })
    sandbox.labels.set(marker, 'set')
    this.#known.push(sandbox)
    return sandbox
  }

  #hadFault(began: number): boolean {
    // One that was armed earlier may still wait for its call.
    return this.#faultAt > 0 && this.#faultAt <= Math.max(Date.now(), began)
  }

  #fault(what: string, { status, body }: Answer): void {
    this.#problems.push(`${what} answered ${status} ${JSON.stringify(body)}`)
  }

  #do(work: Promise<void>): void {
    const under = work
      .catch((error: unknown) => void this.#problems.push(String(error)))
      .finally(() => this.#under.delete(under))
    this.#under.add(under)
  }

  #of(sandbox: KnownSandbox, method: string, path: string, body?: unknown): Promise<Answer | undefined> {
    return this.#call(method, `/v1/sandboxes/${sandbox.id}${path}`, body)
  }

  /** The answer, or undefined when there was none: control was killed before. */
  async #call(method: string, path: string, body?: unknown, key = 'root-key'): Promise<Answer | undefined> {
    const kills = this.#kills
    try {
      const response = await fetch(`${this.#edge.url}${path}`, {
        method,
        headers: {
          'open-sandbox-api-key': key,
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(60_000),
      })
      const text = await response.text()
      if (response.status === 502 || response.status === 503 || response.status === 504) return undefined
      return {
        status: response.status,
        body: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {},
      }
    } catch (error) {
      if (kills === this.#kills && !(error instanceof TypeError)) throw error
      return undefined
    }
  }

  #rows(): Row[] {
    return this.#query<Row>('SELECT id, state, warm, hidden, acknowledged, expires_at FROM sandboxes')
  }

  #events() {
    return this.#query<{ sandboxId: string; type: string; state: SandboxState | null }>(
      'SELECT sandbox_id AS sandboxId, type, state FROM events ORDER BY id',
    )
  }

  #query<T>(sql: string): T[] {
    const database = new Sqlite(join(this.#edge.dataDir, 'control.db'), { readonly: true })
    try {
      return database.prepare(sql).all() as T[]
    } finally {
      database.close()
    }
  }

  #runc(args: string[]): void {
    runMaybe('runc', ['--root', join(this.#instance.runDir, 'runc'), ...args])
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)] as T
  }
}

function controlPid(edge: Edge): number {
  const out = outputOf('ps', ['-o', 'pid=,args=', '--ppid', String(edge.launcherPid)])
  return Number(/^\s*(\d+) .*\/control\/main\.ts/m.exec(out)?.[1])
}
