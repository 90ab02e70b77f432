// The source of the routes feed (lib/api/routes-feed.ts): a table of routes that follows the store, a bounded log
// of its changes with versions, and readers that each remember only how far they have read. A reader therefore costs nothing
// while it is slow, and one that is slower than the whole log is cut off: it comes back and begins anew.

import { hashKey } from '../lib/access.ts'
import { EGRESS_PORT } from '../lib/api/guest.ts'
import type { SandboxState } from '../lib/api/lifecycle.ts'
import type { Route, RouteEvent, RouteState, Share } from '../lib/api/routes-feed.ts'
import { createRequestId } from '../lib/id.ts'
import type { WakeMode } from '../lib/wake-mode.ts'
import { countsTraffic } from './sandbox/activity.ts'
import { mayWake } from './sandbox/wake-on-request.ts'
import type { DomainStore } from './store/domains.ts'
import type { SandboxRow } from './store/rows.ts'
import type { ShareRow, ShareStore } from './store/shares.ts'
import type { Store } from './store/sqlite.ts'

const STATES: Record<SandboxState, RouteState> = {
  Pending: 'pending',
  Running: 'running',
  Pausing: 'paused',
  Paused: 'paused',
  Resuming: 'paused',
  Stopping: 'stopping',
  Terminated: 'terminated',
  Failed: 'failed',
}

/** Called when a route has changed: the new one, or undefined when it is gone. */
export type RouteListener = (id: string, route: Route | undefined) => void

export type RoutesFeedOptions = {
  store: Store
  /** Where egress serves every sandbox's policy. */
  policySocket: string
  /** Whether a request wakes a paused sandbox that does not say so itself; never when absent. */
  wake?: WakeMode
  /** So many changes are remembered for readers that come back. */
  maxLog?: number
  pingMs?: number
  epoch?: string
}

type LoggedEvent = Extract<RouteEvent, { type: 'put' | 'delete' }>

export class RoutesFeed implements Disposable {
  readonly epoch: string
  readonly #routes = new Map<string, { route: Route; text: string }>()
  readonly #log: LoggedEvent[] = []
  readonly #options: Required<Omit<RoutesFeedOptions, 'store' | 'epoch'>>
  readonly #domains: DomainStore
  readonly #shares: ShareStore
  readonly #stopWatching: () => void
  #version = 0
  readonly #waiters = new Set<() => void>()
  readonly #listeners: RouteListener[] = []

  constructor({
    store,
    policySocket,
    maxLog = 10_000,
    pingMs = 10_000,
    wake = 'never',
    epoch = createRequestId(),
  }: RoutesFeedOptions) {
    this.epoch = epoch
    this.#options = { policySocket, maxLog, pingMs, wake }
    this.#domains = store.domains
    this.#shares = store.shares
    for (const row of store.all()) this.#follow(row.id, row)
    const watches = [
      store.watch(({ id, row }) => this.#follow(id, row)),
      store.shares.watch((id) => this.#follow(id, store.get(id))),
      store.domains.watch((id) => this.#follow(id, store.get(id))),
    ]
    this.#stopWatching = () => {
      for (const stop of watches) stop()
    }
  }

  get version(): number {
    return this.#version
  }

  get(id: string): Route | undefined {
    return this.#routes.get(id)?.route
  }

  /** For as long as it lives. */
  onChange(listener: RouteListener): void {
    this.#listeners.push(listener)
  }

  /**
   * The events that a reader has to see: all routes, unless it names a point that is still remembered; then what changed, as it
   * happens, with a ping in between. Ends when `signal` aborts or the reader has fallen out of the log.
   */
  async *read(from: { epoch?: string; since?: number }, signal: AbortSignal): AsyncGenerator<RouteEvent[]> {
    const { epoch } = this
    let position = this.#version
    if (from.epoch === epoch && from.since !== undefined && this.#remembers(from.since)) {
      position = from.since
    } else {
      const routes = [...this.#routes.values()].map(({ route }) => route)
      yield [{ type: 'reset', epoch, version: position }]
      for (let at = 0; at < routes.length; at += 200)
        yield routes.slice(at, at + 200).map((route) => ({ type: 'put', version: position, route }))
    }
    let caughtUp = false
    while (!signal.aborted) {
      if (!this.#remembers(position)) return
      const events = this.#after(position)
      position = events.at(-1)?.version ?? position
      if (events.length > 0) yield events
      else if (!caughtUp) {
        caughtUp = true
        yield [{ type: 'ready', epoch, version: position }]
      } else if (!(await this.#nextChange(signal))) {
        if (!signal.aborted) yield [{ type: 'ping', version: position }]
      }
    }
  }

  [Symbol.dispose](): void {
    this.#stopWatching()
  }

  #remembers(version: number): boolean {
    return version <= this.#version && version >= this.#version - this.#log.length
  }

  /** At most a few hundred at once, so that what is handed over stays small. */
  #after(version: number): LoggedEvent[] {
    const start = this.#log.length - (this.#version - version)
    return this.#log.slice(start, start + 200)
  }

  /** Waits for a change, and tells whether one came before it was time for a ping. */
  async #nextChange(signal: AbortSignal): Promise<boolean> {
    return await new Promise<boolean>((resolve) => {
      const settle = (changed: boolean) => {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        this.#waiters.delete(onChange)
        resolve(changed)
      }
      const onChange = () => settle(true)
      const onAbort = () => settle(false)
      const timer = setTimeout(onAbort, this.#options.pingMs)
      signal.addEventListener('abort', onAbort)
      this.#waiters.add(onChange)
    })
  }

  #follow(id: string, row: SandboxRow | undefined): void {
    const route = row && !row.hidden ? this.#routeOf(row) : undefined
    const known = this.#routes.get(id)
    if (!route) {
      if (!known) return
      this.#routes.delete(id)
      this.#append({ type: 'delete', version: ++this.#version, id })
      this.#tell(id, undefined)
      return
    }
    const text = JSON.stringify(route)
    if (known?.text === text) return
    this.#routes.set(id, { route, text })
    this.#append({ type: 'put', version: ++this.#version, route })
    this.#tell(id, route)
  }

  #tell(id: string, route: Route | undefined): void {
    for (const listener of this.#listeners) listener(id, route)
  }

  #routeOf(row: SandboxRow): Route {
    const { policySocket, wake } = this.#options
    const domains = this.#domains.of(row.id).map(({ name, port }) => ({ name, port }))
    return {
      id: row.id,
      state: STATES[row.state],
      ...(row.address !== null && { address: row.address }),
      ports: { [EGRESS_PORT]: { socketPath: policySocket, pathPrefix: `/sandboxes/${row.id}` } },
      generation: row.generation,
      ...(domains.length > 0 && { domains }),
      ...(countsTraffic(row) && { countsTraffic: true }),
      ...(mayWake(row, wake) && { wakes: true }),
      ...(row.accessToken !== null && {
        accessHash: hashKey(row.accessToken),
        shares: this.#shares.of(row.id).map(shareOf),
      }),
    }
  }

  #append(event: LoggedEvent): void {
    this.#log.push(event)
    // Cutting off a quarter at once keeps the cost of an append constant.
    const { maxLog } = this.#options
    if (this.#log.length > maxLog) this.#log.splice(0, Math.ceil(maxLog / 4))
    for (const wake of [...this.#waiters]) wake()
  }
}

function shareOf({ id, port, hash, expiresAt, once, usedAt, path, methods }: ShareRow): Share {
  return {
    id,
    port,
    hash,
    until: expiresAt,
    ...(once && usedAt === null && { once: true }),
    ...(path !== null && { path }),
    ...(methods && { methods }),
  }
}
