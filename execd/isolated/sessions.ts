// All isolated sessions: what may be made, and when each of them goes.

import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { IsolatedSessionSummary } from '../../lib/api/execd-isolated.ts'
import { ApiError } from '../../lib/errors.ts'
import type { UserIds } from '../command/process.ts'
import { execdError } from '../http/answer.ts'
import type { Surroundings } from '../surroundings.ts'
import { FileAccess } from './file-access.ts'
import { removeAbandoned } from './layers.ts'
import { planMounts, readMountPoints } from './mounts.ts'
import { canMount } from './namespace.ts'
import { createProbe, type Isolator, type Probe } from './probe.ts'
import type { SessionRequest } from './request.ts'
import { BackgroundRuns } from './runs.ts'
import { IsolatedSession } from './session.ts'
import { usageOf } from './usage.ts'

const MAX_SESSIONS = 100
const LOOK_EVERY_MS = 1000
/** How often the layers of sessions in use are measured. */
const MEASURE_EVERY_MS = 5000
/** How long a dead session can be asked why. */
const DEAD_MS = 60_000

export type Entry = { session: IsolatedSession; runs: BackgroundRuns; files: FileAccess }

export class IsolatedSessions {
  readonly #surroundings: Surroundings
  readonly #entries = new Map<string, Entry>()
  readonly #probe: () => Promise<Probe>
  #opening = 0
  #isTidy = false
  #timer: NodeJS.Timeout | undefined
  #measuredAt = 0

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings
    this.#probe = createProbe(surroundings)
  }

  /** What of all this works here. */
  probe(): Promise<Probe> {
    return this.#probe()
  }

  /** Throws a refusal when nothing of it works here. */
  async requireIsolator(): Promise<Isolator> {
    const { isolator, message } = await this.#probe()
    if (isolator) return isolator
    throw execdError('SERVICE_UNAVAILABLE', `isolation unavailable: ${message ?? 'unknown reason'}`)
  }

  /** Throws a refusal when overlays, and what is told of them, cannot be had here. */
  async requireOverlays(): Promise<void> {
    const { canOverlay } = await this.requireIsolator()
    if (!canOverlay) throw unsupported((await this.#probe()).message)
  }

  /** Makes a session. Throws a refusal that says why there is none. */
  async create(request: SessionRequest): Promise<IsolatedSession> {
    const isolator = await this.requireIsolator()
    await this.#refuseUnsupported(request, isolator)
    if (this.#entries.size + this.#opening >= MAX_SESSIONS)
      throw execdError('TOO_MANY', `There are ${MAX_SESSIONS} isolated sessions already`)
    this.#opening++
    try {
      await this.#refuseWhenFull(request, isolator)
      const user = this.#userOf(request)
      const plan = planMounts(request, {
        config: isolator.config,
        vital: this.#surroundings.vital,
        owner: request.uidMode === 'userns' ? { uid: 0, gid: 0 } : user,
        // In a user namespace, what is mounted below a directory cannot be told apart from it.
        fixedMounts: canMount() ? [] : readMountPoints(),
      })
      const id = process.getBuiltinModule('node:crypto').randomUUID()
      const session = new IsolatedSession({
        id,
        request,
        plan,
        user,
        isolator,
        surroundings: this.#surroundings,
      })
      await session.open()
      this.#entries.set(id, { session, runs: new BackgroundRuns(session), files: new FileAccess(session) })
      this.#timer ??= setInterval(() => void this.#look(), LOOK_EVERY_MS).unref()
      return session
    } finally {
      this.#opening--
    }
  }

  /** The session of an id. Throws a refusal when there is none. */
  find(id: string): Entry {
    const entry = this.#entries.get(id)
    if (!entry) throw execdError('SESSION_NOT_FOUND', `There is no isolated session "${id}"`)
    return entry
  }

  list(): IsolatedSessionSummary[] {
    return [...this.#entries.values()].map(({ session }) => {
      const { session_id, status, created_at, last_run_at, idle_remaining_seconds } = session.describe()
      return {
        session_id,
        status,
        created_at,
        last_run_at,
        ...(idle_remaining_seconds === undefined ? {} : { idle_remaining_seconds }),
      }
    })
  }

  async remove(id: string): Promise<void> {
    const { session, runs, files } = this.find(id)
    this.#entries.delete(id)
    await files.close()
    await session.close()
    runs.close()
  }

  async closeAll(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all([...this.#entries.keys()].map((id) => this.remove(id)))
  }

  #userOf({ uid, gid }: SessionRequest): UserIds {
    const { identity, user } = this.#surroundings
    if (uid === undefined && gid !== undefined) return { uid: user.uid, gid }
    return identity(uid, gid)
  }

  async #refuseUnsupported(request: SessionRequest, isolator: Isolator): Promise<void> {
    const needsOverlay = request.mounts.some(({ mode }) => mode === 'overlay')
    const isMissing =
      (needsOverlay && !isolator.canOverlay) || (request.uidMode === 'userns' && !isolator.canUserns)
    // The status is the contract's (execd.md 8.2), which has another one for this code elsewhere.
    if (isMissing)
      throw new ApiError(503, 'NOT_SUPPORTED', (await this.#probe()).message ?? 'Not supported here')
  }

  async #refuseWhenFull(request: SessionRequest, { config }: Isolator): Promise<void> {
    mkdirSync(config.upperRoot, { recursive: true, mode: 0o700 })
    if (!this.#isTidy) {
      // The first session of this execd: what is there is of one that was killed.
      removeAbandoned(config.upperRoot)
      rmSync(join(this.#surroundings.dir, 'isolated'), { recursive: true, force: true })
      this.#isTidy = true
    }
    if (config.upperMaxBytes === 0 || request.mounts.every(({ mode }) => mode !== 'overlay')) return
    const used = await usageOf(config.upperRoot)
    if (used >= config.upperMaxBytes)
      throw execdError(
        'SERVICE_UNAVAILABLE',
        `The overlays of sessions take ${used} bytes already: upper_max_bytes is ${config.upperMaxBytes}`,
      )
  }

  async #look(): Promise<void> {
    for (const [id, { session }] of this.#entries)
      if (session.idleRemainingMs === 0 || session.deadMs > DEAD_MS)
        this.remove(id).catch((error: unknown) =>
          this.#surroundings.log.warn('cannot remove an isolated session', { session: id, error }),
        )
    if (performance.now() - this.#measuredAt < MEASURE_EVERY_MS) return
    this.#measuredAt = performance.now()
    await this.#endGreedy()
  }

  /** Ends the sessions that take most, until the rest takes no more than it may. */
  async #endGreedy(): Promise<void> {
    const { isolator } = await this.#probe()
    const limit = isolator?.config.upperMaxBytes ?? 0
    if (limit === 0) return
    const active = [...this.#entries.values()].filter(({ session }) => session.namespace !== undefined)
    const measured: { session: IsolatedSession; bytes: number }[] = []
    for (const { session } of active)
      if (session.spec.plan.mounts.some(({ mode }) => mode === 'overlay'))
        measured.push({ session, bytes: await usageOf(session.spec.layersDir) })
    let total = measured.reduce((sum, { bytes }) => sum + bytes, 0)
    for (const { session, bytes } of measured.toSorted((a, b) => b.bytes - a.bytes)) {
      if (total <= limit) return
      session.kill(`its overlays took ${bytes} bytes: upper_max_bytes is ${limit} for all sessions`)
      total -= bytes
    }
  }
}

/** The status is the contract's (execd.md 8.2), which has another one for this code elsewhere. */
function unsupported(message = 'Not supported here'): ApiError {
  return new ApiError(503, 'NOT_SUPPORTED', message)
}
