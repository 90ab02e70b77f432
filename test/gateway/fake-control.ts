// A stand-in for control: the routes feed and an API on two Unix sockets, driven by the test.

import { mkdtempSync, rmSync } from 'node:fs'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Route, RouteEvent } from '../../lib/api/routes-feed.ts'

export type FakeControlOptions = {
  api?: RequestListener
  /** Sockets are made here, instead of in a directory of its own. */
  feedSocket?: string
  controlSocket?: string
  epoch?: string
}

/** What a reader of the feed asked for, in order. */
export type FeedRequest = { epoch: string | null; since: string | null }

export class FakeControl implements AsyncDisposable {
  readonly feedSocket: string
  readonly controlSocket: string
  readonly api: Server
  readonly feedRequests: FeedRequest[] = []
  readonly asks: string[] = []
  readonly routes = new Map<string, Route>()
  epoch: string
  version = 0
  /** Called for `GET /routes/{id}`; the routes answer unless it says something. */
  onAsk: (id: string, response: ServerResponse) => boolean = () => false
  readonly #folder: string
  readonly #log: Extract<RouteEvent, { type: 'put' | 'delete' }>[] = []
  readonly #readers = new Set<ServerResponse>()
  readonly #waiters = new Set<() => void>()
  #feed: Server | undefined

  constructor({ api, feedSocket, controlSocket, epoch = 'one' }: FakeControlOptions = {}) {
    this.#folder = mkdtempSync(join(tmpdir(), 'fake-control-'))
    this.feedSocket = feedSocket ?? join(this.#folder, 'feed.sock')
    this.controlSocket = controlSocket ?? join(this.#folder, 'control.sock')
    this.epoch = epoch
    this.api = createServer(api ?? ((_, response) => response.end('control')))
  }

  async start(): Promise<this> {
    await listen(this.api, this.controlSocket)
    await this.startFeed()
    return this
  }

  async startFeed(): Promise<void> {
    this.#feed = createServer((request, response) => this.#answer(request, response))
    await listen(this.#feed, this.feedSocket)
  }

  /** Ends the feed as a dying control does. */
  async stopFeed(): Promise<void> {
    const feed = this.#feed
    this.#feed = undefined
    for (const reader of this.#readers) reader.destroy()
    this.#readers.clear()
    await new Promise<void>((resolve) => (feed ? feed.close(() => resolve()) : resolve()))
  }

  put(route: Route): void {
    this.routes.set(route.id, route)
    this.#append({ type: 'put', version: ++this.version, route })
  }

  delete(id: string): void {
    this.routes.delete(id)
    this.#append({ type: 'delete', version: ++this.version, id })
  }

  /** Sends to all readers what nobody remembers. */
  send(event: RouteEvent | string): void {
    for (const reader of this.#readers)
      reader.write(typeof event === 'string' ? event : `${JSON.stringify(event)}\n`)
  }

  /** Resolves when so many readers have come since the beginning. */
  async waitForReaders(count: number): Promise<void> {
    while (this.feedRequests.length < count) await new Promise<void>((resolve) => this.#waiters.add(resolve))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopFeed()
    this.api.closeAllConnections()
    await new Promise<void>((resolve) => this.api.close(() => resolve()))
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #append(event: Extract<RouteEvent, { type: 'put' | 'delete' }>): void {
    this.#log.push(event)
    this.send(event)
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://localhost')
    const id = /^\/routes\/([^/]+)$/.exec(url.pathname)?.[1]
    if (id !== undefined) {
      this.asks.push(id)
      if (this.onAsk(id, response)) return
      const route = this.routes.get(id)
      response.statusCode = route ? 200 : 404
      response.end(JSON.stringify(route ?? { code: 'DOCKER::SANDBOX_NOT_FOUND' }))
      return
    }
    const epoch = url.searchParams.get('epoch')
    const since = url.searchParams.get('since')
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson' })
    this.#readers.add(response)
    response.on('close', () => this.#readers.delete(response))
    const isKnown = epoch === this.epoch && since !== null && Number(since) <= this.version
    const events: RouteEvent[] = isKnown
      ? this.#log.filter(({ version }) => version > Number(since))
      : [
          { type: 'reset', epoch: this.epoch, version: this.version },
          ...[...this.routes.values()].map((route) => ({
            type: 'put' as const,
            version: this.version,
            route,
          })),
        ]
    for (const event of [...events, { type: 'ready', epoch: this.epoch, version: this.version }])
      response.write(`${JSON.stringify(event)}\n`)
    this.feedRequests.push({ epoch, since })
    for (const wake of this.#waiters) wake()
    this.#waiters.clear()
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => resolve())
  })
}
