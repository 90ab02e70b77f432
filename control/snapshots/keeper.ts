// Does what the rows of snapshots say is to be done: takes those that are Creating, removes those that are Deleting, reads the
// digests of those that are Ready. It knows nothing but rows and what the runtime has, so it goes on where an earlier process has
// stopped. What such a process had begun is whole, and then it is Ready, or it is not there, and then it has Failed.

import { messageOf } from '../../lib/errors.ts'
import { type Backoff, backoffMs } from '../async.ts'
import { refusal } from '../errors.ts'
import { RuntimeError } from '../runtime/runtime.ts'
import type { Snapshots } from '../runtime/snapshots.ts'
import { Wake } from '../sandbox/wake.ts'
import type { SnapshotRow } from '../store/snapshots.ts'
import { agreeSnapshots } from './agree.ts'
import { moveSnapshot, removeRow } from './move.ts'
import { inUse } from './refuse.ts'
import { endForks } from './remove-forks.ts'
import type { SnapshotDeps } from './take.ts'

/** So many are worked at side by side, and so many of one tenant: another one's does not wait for hers. */
const WIDTH = 4
const MOST_OF_TENANT = 2
/** However large it is. */
const TAKE_TIMEOUT_MS = 3_600_000
const SEAL_TIMEOUT_MS = 3_600_000
const REMOVE_TIMEOUT_MS = 300_000
/** How often rows and runtime are compared. */
const AGREE_EVERY_MS = 60_000
const LONGEST_WAIT_MS = 10_000
const AFTER_FAILURE: Backoff = { firstMs: 500, longestMs: 60_000 }
/** A runtime that is back is to be known soon; one that is away says so at once. */
const WHILE_AWAY: Backoff = { firstMs: 500, longestMs: 3000 }

type Kind = 'take' | 'seal' | 'remove'
type Work = { kind: Kind; tenant: string; cancel: AbortController; done: Promise<void> }
type Trouble = { failures: number; retryAt: number }

export class SnapshotKeeper {
  readonly #deps: SnapshotDeps
  readonly #wake = new Wake()
  readonly #working = new Map<string, Work>()
  readonly #troubles = new Map<string, Trouble>()
  /** Begun by an earlier process, or not known how it ended: found out by what the runtime has. */
  readonly #unsettled: Set<string>
  /** Of forks that an earlier process had begun: nobody was told of their sandboxes, so all of them go. */
  readonly #interrupted: readonly string[]
  /** Hidden ones that a fork makes sandboxes of just now. */
  readonly #held = new Set<string>()
  readonly #watchers = new Set<() => void>()
  #agreeAt = 0
  #agreeFailures = 0

  /** To be made before anybody can ask for a snapshot. */
  constructor(deps: SnapshotDeps) {
    this.#deps = deps
    this.#unsettled = new Set(deps.snapshots.inState('Creating').map(({ id }) => id))
    this.#interrupted = deps.snapshots.inFork()
  }

  /** Says that there is something to do. */
  wake(): void {
    this.#wake.call()
  }

  /** Keeps a hidden one although no sandbox was made from it yet, until the returned function is called. */
  hold(id: string): () => void {
    this.#held.add(id)
    return () => {
      this.#held.delete(id)
      this.#wake.call()
    }
  }

  /** The row once it is not Creating any more; undefined when it is gone. Rejects with the signal's reason. */
  async outcome(id: string, signal: AbortSignal): Promise<SnapshotRow | undefined> {
    for (;;) {
      signal.throwIfAborted()
      const row = this.#deps.snapshots.get(id)
      if (row?.state !== 'Creating') return row
      await this.#nextChange(signal)
    }
  }

  /** Removes one that is Deleting; joins whoever is at it. Rejects with ApiError when that was not possible now. */
  async remove(id: string): Promise<void> {
    const { snapshots } = this.#deps
    const before = this.#working.get(id)
    if (before?.kind === 'seal') before.cancel.abort(new Error('The snapshot is removed'))
    await before?.done
    const row = snapshots.get(id)
    if (row?.state === 'Deleting') await (this.#working.get(id)?.done ?? this.#begin(row, 'remove').done)
    const left = snapshots.get(id)
    if (!left) return
    if (left.state === 'Deleting')
      throw refusal(
        'DOCKER::SNAPSHOT_IMAGE_REMOVE_FAILED',
        'The snapshot could not be removed; it is tried again',
      )
    throw inUse()
  }

  /** Works until the program stops. Resolves once what it has begun has ended. */
  async run(): Promise<void> {
    const { lives } = this.#deps
    const { runtime, signal, log } = lives
    if (!runtime.snapshots) return
    const stopWatching = lives.store.watch(({ row }) => {
      if (!row) this.#wake.call()
    })
    const ending = endForks(this.#deps, this.#interrupted)
    try {
      while (!signal.aborted) {
        let waitMs = LONGEST_WAIT_MS
        try {
          await this.#agree(runtime.snapshots)
          this.#tend()
          waitMs = this.#nextIn()
        } catch (error) {
          log.error('snapshots could not be tended; it is tried again', { error: messageOf(error) })
        }
        await this.#wake.wait(signal, waitMs)
      }
    } finally {
      stopWatching()
      await ending
      await Promise.all([...this.#working.values()].map(({ done }) => done))
      this.#tell()
    }
  }

  /** Compares rows with what the runtime has: at the start, now and then, and when it is not known how something ended. */
  async #agree(runtime: Snapshots): Promise<void> {
    const { lives } = this.#deps
    if (performance.now() < this.#agreeAt) return
    try {
      await agreeSnapshots(this.#deps, runtime, {
        unsettled: this.#unsettled,
        isBusy: (id) => this.#working.has(id),
      })
      if (this.#agreeFailures > 0) this.#troubles.clear()
      this.#agreeFailures = 0
      this.#agreeAt = performance.now() + AGREE_EVERY_MS
      this.#tell()
    } catch (error) {
      if (lives.signal.aborted) return
      this.#agreeFailures += 1
      const inMs = backoffMs(WHILE_AWAY, this.#agreeFailures, Math.random())
      this.#agreeAt = performance.now() + inMs
      const level = this.#agreeFailures === 1 ? 'error' : 'debug'
      lives.log[level]('snapshots could not be compared with what the runtime has; it is tried again', {
        error: messageOf(error),
        inMs,
      })
    }
  }

  /** One look at the rows: begins what is to be done. */
  #tend(): void {
    const { lives, snapshots } = this.#deps
    for (const row of snapshots.unused())
      if (!this.#held.has(row.id)) moveSnapshot(this.#deps, row.id, 'delete', { onlyUnused: true })
    const unsealed = snapshots.inState('Ready').filter(({ digest, hidden }) => digest === null && !hidden)
    const wanted: [Kind, SnapshotRow[]][] = [
      ['remove', snapshots.inState('Deleting')],
      ['take', snapshots.inState('Creating').filter(({ id }) => !this.#unsettled.has(id))],
      ['seal', unsealed],
    ]
    for (const [kind, rows] of wanted)
      for (const row of rows) {
        if (lives.signal.aborted) return
        const isWaiting = (this.#troubles.get(row.id)?.retryAt ?? 0) > performance.now()
        if (!isWaiting && !this.#working.has(row.id) && this.#hasRoom(kind, row)) this.#begin(row, kind)
      }
  }

  /** Digests are read one at a time, beside what somebody waits for. */
  #hasRoom(kind: Kind, { tenant }: SnapshotRow): boolean {
    const alike = [...this.#working.values()].filter((work) => (work.kind === 'seal') === (kind === 'seal'))
    if (kind === 'seal') return alike.length === 0
    return alike.length < WIDTH && alike.filter((work) => work.tenant === tenant).length < MOST_OF_TENANT
  }

  #begin(row: SnapshotRow, kind: Kind): Work {
    const { signal, runtime } = this.#deps.lives
    const cancel = new AbortController()
    const ended = AbortSignal.any([signal, cancel.signal])
    const work = async () => {
      try {
        if (runtime.snapshots) await this.#do(kind, runtime.snapshots, row, ended)
        this.#troubles.delete(row.id)
      } catch (error) {
        if (!ended.aborted) this.#noteTrouble(row.id, kind, error)
      }
      this.#working.delete(row.id)
      this.#tell()
      this.#wake.call()
    }
    // Begun a moment later, so that it is known as under way before it can end.
    const begun: Work = { kind, tenant: row.tenant, cancel, done: Promise.resolve().then(work) }
    this.#working.set(row.id, begun)
    return begun
  }

  async #do(kind: Kind, runtime: Snapshots, row: SnapshotRow, ended: AbortSignal): Promise<void> {
    if (kind === 'take') await this.#take(runtime, row)
    else if (kind === 'remove') await this.#remove(runtime, row)
    else {
      const within = AbortSignal.any([ended, AbortSignal.timeout(SEAL_TIMEOUT_MS)])
      const { digest } = await runtime.seal(row.id, within)
      this.#deps.snapshots.move(row.id, ['Ready'], { digest })
    }
  }

  async #take(runtime: Snapshots, row: SnapshotRow): Promise<void> {
    const { lives } = this.#deps
    const { log, signal } = lives
    const began = performance.now()
    const deadline = AbortSignal.timeout(TAKE_TIMEOUT_MS)
    try {
      const made = await runtime.create(row.sandboxId, row.id, AbortSignal.any([signal, deadline]))
      const { sizeBytes, digest = null, isWhole = false } = made
      const tooLarge = lives.quotas.snapshotRefusal(row.tenant, sizeBytes)
      if (tooLarge !== undefined) {
        // The comparison removes it.
        this.#agreeAt = Math.min(this.#agreeAt, performance.now() + AFTER_FAILURE.firstMs)
        moveSnapshot(this.#deps, row.id, 'failed', { message: tooLarge })
        return
      }
      moveSnapshot(this.#deps, row.id, 'made', { sizeBytes, digest, ...(isWhole && { parent: null }) })
      const ms = Math.round(performance.now() - began)
      log.info('snapshot taken', { snapshot: row.id, sandbox: row.sandboxId, sizeBytes, ms })
    } catch (error) {
      // The next start finds what is there.
      if (signal.aborted) {
        this.#unsettled.add(row.id)
        return
      }
      if (!(error instanceof RuntimeError) && !deadline.aborted)
        log.error('a snapshot could not be taken', { snapshot: row.id, sandbox: row.sandboxId, error })
      // Should it not be possible to write that down, the next comparison does, and it removes what came too late.
      this.#unsettled.add(row.id)
      this.#agreeAt = Math.min(this.#agreeAt, performance.now() + AFTER_FAILURE.firstMs)
      if (deadline.aborted)
        moveSnapshot(this.#deps, row.id, 'timed_out', {
          message: `The snapshot was not taken within ${TAKE_TIMEOUT_MS / 1000} seconds`,
        })
      else
        moveSnapshot(this.#deps, row.id, 'failed', {
          message: error instanceof RuntimeError ? error.message : 'The snapshot could not be taken',
        })
      this.#unsettled.delete(row.id)
    }
  }

  async #remove(runtime: Snapshots, row: SnapshotRow): Promise<void> {
    try {
      await runtime.remove(row.id, AbortSignal.timeout(REMOVE_TIMEOUT_MS))
    } catch (error) {
      if (!(error instanceof RuntimeError) || error.failure !== 'in_use') throw error
      moveSnapshot(this.#deps, row.id, 'kept', {})
      return
    }
    removeRow(this.#deps, row)
  }

  #noteTrouble(id: string, kind: Kind, error: unknown): void {
    const failures = (this.#troubles.get(id)?.failures ?? 0) + 1
    const inMs = backoffMs(AFTER_FAILURE, failures, Math.random())
    this.#troubles.set(id, { failures, retryAt: performance.now() + inMs })
    const what = `could not ${kind === 'seal' ? 'read the digest of' : kind} a snapshot; it is tried again`
    this.#deps.lives.log.error(what, { snapshot: id, error: messageOf(error), inMs })
  }

  #nextIn(): number {
    const now = performance.now()
    // What could be begun and was not waits for something that is under way, whose end is told.
    const later = [...this.#troubles.values()].map(({ retryAt }) => retryAt).filter((at) => at > now)
    return Math.min(Math.max(Math.min(this.#agreeAt, ...later) - now, 5), LONGEST_WAIT_MS)
  }

  async #nextChange(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#watchers.add(resolve)
    signal.addEventListener('abort', () => resolve(), { once: true })
    await promise
    this.#watchers.delete(resolve)
  }

  #tell(): void {
    for (const watcher of this.#watchers) watcher()
  }
}
