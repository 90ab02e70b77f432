// The gateway's table of routes, kept current by control's feed (lib/api/routes-feed.ts). It lives in memory and
// is served from while control is away; the feed is taken up again where it broke off. An id that was never seen is asked for
// once, however many requests wait for it, and that it does not exist is remembered for a moment.

import { get as httpGet, type IncomingMessage } from 'node:http'
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises'
import type { Route, RouteEvent } from '../../lib/api/routes-feed.ts'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { askControl } from '../ask-control.ts'
import type { SandboxAddress } from './host.ts'

export type RoutesFeedOptions = {
  socketPath: string
  log: Logger
  /** Pings come every 10 s; when nothing has come for this long, the connection is dead. */
  silenceMs?: number
  firstPauseMs?: number
  longestPauseMs?: number
  askTimeoutMs?: number
  unknownMs?: number
  now?: () => number
}

/** Called when a route has changed: the new one, or undefined when it is gone. */
export type RouteListener = (id: string, route: Route | undefined) => void

export type Lookup = Route | 'unknown' | 'unreachable'

const MAX_LINE_BYTES = 1024 * 1024
/** How long the feed is read before something else has its turn. */
const LONGEST_TURN_MS = 1
const MAX_ASKS = 64
const MAX_UNKNOWN = 10_000

export class RoutesFeed {
  /** Resolves when the table was complete for the first time. */
  readonly ready: Promise<void>
  readonly #options: Required<RoutesFeedOptions>
  readonly #listeners = new Set<RouteListener>()
  readonly #asks = new Map<string, { answer: Promise<Lookup>; stale: boolean }>()
  readonly #unknown = new Map<string, number>()
  #routes = new Map<string, Route>()
  /** Of the sandboxes that have names of their own. */
  #domains = new Map<string, SandboxAddress>()
  /** The table that a reset builds up, until it is complete. */
  #next: Map<string, Route> | undefined
  #position: { epoch: string; version: number } | undefined
  #nextEpoch = ''
  #isCurrent = false
  #becomeReady: () => void = () => {}

  constructor(options: RoutesFeedOptions) {
    this.#options = {
      silenceMs: 25_000,
      firstPauseMs: 50,
      longestPauseMs: 2000,
      askTimeoutMs: 2000,
      unknownMs: 1000,
      now: () => performance.now(),
      ...options,
    }
    this.ready = new Promise((resolve) => {
      this.#becomeReady = resolve
    })
  }

  get size(): number {
    return this.#routes.size
  }

  /** Whether control tells of changes at the moment. */
  get isCurrent(): boolean {
    return this.#isCurrent
  }

  get(id: string): Route | undefined {
    return this.#routes.get(id)
  }

  findDomain(name: string): SandboxAddress | undefined {
    return this.#domains.get(name)
  }

  /** Calls `listener` with every change from now on; the returned function ends that. */
  onChange(listener: RouteListener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** The route of an id, asking control when it has not been seen. */
  find(id: string): Promise<Lookup> {
    const known = this.#routes.get(id)
    if (known) return Promise.resolve(known)
    const refusedUntil = this.#unknown.get(id)
    if (refusedUntil !== undefined) {
      if (refusedUntil > this.#options.now()) return Promise.resolve('unknown')
      this.#unknown.delete(id)
    }
    const running = this.#asks.get(id)
    if (running) return running.answer
    if (this.#asks.size >= MAX_ASKS) return Promise.resolve('unreachable')
    const ask = { answer: this.#ask(id), stale: false }
    this.#asks.set(id, ask)
    return ask.answer
  }

  /** Follows the feed until `signal` aborts, coming back whenever it breaks off. */
  async run(signal: AbortSignal): Promise<void> {
    const { log, firstPauseMs, longestPauseMs } = this.#options
    let pauseMs = firstPauseMs
    let told = false
    while (!signal.aborted) {
      try {
        await this.#follow(signal, () => {
          if (told) log.info('the routes feed is back', { routes: this.#routes.size })
          told = false
          this.#isCurrent = true
          pauseMs = firstPauseMs
        })
      } catch (error) {
        if (signal.aborted) return
        if (!told) log.warn('the routes feed broke off and is taken up again', { error: messageOf(error) })
        told = true
      }
      this.#isCurrent = false
      // What came after a reset is not complete, so it is not used; the table is as it was before.
      this.#next = undefined
      // The wait ends early when the gateway stops, which the loop's condition sees.
      await delay(pauseMs * (0.75 + Math.random() / 2), undefined, { signal }).catch(() => {})
      pauseMs = Math.min(pauseMs * 2, longestPauseMs)
    }
  }

  async #follow(signal: AbortSignal, onReady: () => void): Promise<void> {
    const { silenceMs } = this.#options
    const position = this.#position
    const query = position ? `?epoch=${encodeURIComponent(position.epoch)}&since=${position.version}` : ''
    const ended = new AbortController()
    let watchdog = setTimeout(() => {}, 0)
    const rearm = () => {
      clearTimeout(watchdog)
      watchdog = setTimeout(
        () => ended.abort(new Error(`Nothing came for ${Math.round(silenceMs / 1000)} seconds`)),
        silenceMs,
      )
    }
    rearm()
    try {
      const answer = await this.#request(`/routes${query}`, AbortSignal.any([signal, ended.signal]))
      if (answer.statusCode !== 200) {
        answer.destroy()
        throw new Error(`The routes feed answers ${answer.statusCode}`)
      }
      let rest = ''
      answer.setEncoding('utf8')
      for await (const chunk of answer) {
        rearm()
        const lines = (rest + String(chunk)).split('\n')
        rest = lines.pop() ?? ''
        if (rest.length > MAX_LINE_BYTES) throw new Error('A line of the routes feed is too long')
        let turnBeganAt = performance.now()
        for (const line of lines) {
          if (line === '') continue
          // Thousands of changes may come at once, and requests are served in between.
          if (performance.now() - turnBeganAt > LONGEST_TURN_MS) {
            await turn(undefined, { signal })
            turnBeganAt = performance.now()
          }
          const event = JSON.parse(line) as RouteEvent
          this.#apply(event)
          if (event.type === 'ready') onReady()
        }
      }
      throw new Error('The routes feed ended')
    } catch (error) {
      throw ended.signal.aborted ? ended.signal.reason : error
    } finally {
      clearTimeout(watchdog)
    }
  }

  #apply(event: RouteEvent): void {
    switch (event.type) {
      case 'reset':
        this.#next = new Map()
        this.#nextEpoch = event.epoch
        return
      case 'put':
        if (this.#next) this.#next.set(event.route.id, event.route)
        else this.#put(event.route)
        break
      case 'delete':
        if (this.#next) this.#next.delete(event.id)
        else this.#delete(event.id)
        break
      case 'ready':
        if (this.#next) this.#replace(this.#next, this.#nextEpoch)
        this.#position = { epoch: event.epoch, version: event.version }
        this.#becomeReady()
        return
      case 'ping':
        break
      default:
        return // an event that a later control may send and that this gateway need not know
    }
    if (!this.#next && this.#position) this.#position.version = event.version
  }

  #replace(next: Map<string, Route>, epoch: string): void {
    this.#next = undefined
    this.#position = { epoch, version: 0 }
    const before = this.#routes
    this.#routes = next
    this.#domains = new Map([...next.values()].flatMap(domainsOf))
    for (const id of before.keys()) if (!next.has(id)) this.#tell(id, undefined)
    for (const [id, route] of next) {
      const old = before.get(id)
      if (!old || !isSameRoute(old, route)) this.#tell(id, route)
    }
    for (const ask of this.#asks.values()) ask.stale = true
  }

  #put(route: Route): void {
    this.#forgetDomains(route.id)
    for (const [name, address] of domainsOf(route)) this.#domains.set(name, address)
    this.#routes.set(route.id, route)
    this.#tell(route.id, route)
  }

  #forgetDomains(id: string): void {
    for (const { name } of this.#routes.get(id)?.domains ?? [])
      if (this.#domains.get(name)?.id === id) this.#domains.delete(name)
  }

  #delete(id: string): void {
    this.#forgetDomains(id)
    this.#routes.delete(id)
    this.#tell(id, undefined)
  }

  #tell(id: string, route: Route | undefined): void {
    if (route) this.#unknown.delete(id)
    const ask = this.#asks.get(id)
    if (ask) ask.stale = true
    for (const listener of [...this.#listeners]) listener(id, route)
  }

  async #ask(id: string): Promise<Lookup> {
    // Let `find` note that this runs, so that a change in between is seen.
    await Promise.resolve()
    const { socketPath, askTimeoutMs, unknownMs, log, now } = this.#options
    try {
      const { status, text } = await askControl({
        socketPath,
        path: `/routes/${encodeURIComponent(id)}`,
        signal: AbortSignal.timeout(askTimeoutMs),
      })
      // The feed has spoken meanwhile, and it knows the order of things.
      if (this.#asks.get(id)?.stale) {
        const route = this.#routes.get(id)
        if (route) return route
      } else if (status === 200) {
        const route = JSON.parse(text) as Route
        this.#put(route)
        return route
      }
      if (status !== 404 && status !== 200) throw new Error(`The routes feed answers ${status}`)
      if (this.#unknown.size >= MAX_UNKNOWN) this.#unknown.clear()
      this.#unknown.set(id, now() + unknownMs)
      return 'unknown'
    } catch (error) {
      log.debug('cannot ask control for a route', { id, error: messageOf(error) })
      return 'unreachable'
    } finally {
      this.#asks.delete(id)
    }
  }

  #request(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const { socketPath } = this.#options
      const request = httpGet(
        { socketPath, path, signal, agent: false, headers: { host: 'localhost' } },
        resolve,
      )
      request.on('error', (error) => reject(signal.aborted ? signal.reason : error))
    })
  }
}

function domainsOf({ id, domains = [] }: Route): [string, SandboxAddress][] {
  return domains.map(({ name, port }) => [name, { id, port }])
}

/** Whatever of it differs is a change, such as a link that was taken back. */
function isSameRoute(a: Route, b: Route): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
