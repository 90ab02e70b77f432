// A gateway on a free port with routes that the test sets, raw servers to stand behind it, and a raw client before it.

import { connect, createServer, type Server, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import type { AccessSettings } from '../../gateway/access/access.ts'
import type { RouteSource } from '../../gateway/decision/door.ts'
import type { UpstreamPool } from '../../gateway/relay/pool.ts'
import type { Lookup, RouteListener } from '../../gateway/routing/routes-feed.ts'
import { createGateway, type Gateway, type GatewayOptions } from '../../gateway/server.ts'
import type { Route } from '../../lib/api/routes-feed.ts'
import { createLogger } from '../../lib/log.ts'

export class FakeRoutes implements RouteSource {
  readonly #routes = new Map<string, Route>()
  readonly #listeners = new Set<RouteListener>()
  isCurrent = true
  readonly #onListener = new Set<() => void>()
  /** Answers for ids that were never put. */
  onFind: (id: string) => Promise<Lookup> = async () => 'unknown'

  get size(): number {
    return this.#routes.size
  }

  /** Which sandbox has a name of its own. */
  findDomain: (name: string) => { id: string; port: number } | undefined = () => undefined

  get(id: string): Route | undefined {
    return this.#routes.get(id)
  }

  find(id: string): Promise<Lookup> {
    return this.onFind(id)
  }

  onChange(listener: RouteListener): () => void {
    this.#listeners.add(listener)
    for (const wake of this.#onListener) wake()
    return () => void this.#listeners.delete(listener)
  }

  /** Resolves once so many requests wait for a change; the gateway itself always listens. */
  async isWaitedFor(count: number): Promise<void> {
    while (this.#listeners.size < count + 1)
      await new Promise<void>((resolve) => this.#onListener.add(resolve))
    this.#onListener.clear()
  }

  put(id: string, port: number, route: Partial<Route> = {}): void {
    const ports = { 8000: { host: '127.0.0.1', port } }
    const put: Route = { id, state: 'running', address: '127.0.0.1', generation: 1, ports, ...route }
    this.#routes.set(id, put)
    for (const listener of [...this.#listeners]) listener(id, put)
  }

  delete(id: string): void {
    this.#routes.delete(id)
    for (const listener of [...this.#listeners]) listener(id, undefined)
  }
}

/** Without an API key. */
export const OPEN_ACCESS: AccessSettings = {
  hasApiKey: false,
  guardsTraffic: false,
  domain: 'localhost',
  ownHosts: new Set(),
}

export type TestGateway = Gateway & { port: number; routes: FakeRoutes; lines: string[] }

export async function startGateway(
  options: Partial<GatewayOptions> & { pool?: UpstreamPool } = {},
): Promise<TestGateway> {
  const routes = new FakeRoutes()
  const lines: string[] = []
  const gateway = createGateway({
    access: OPEN_ACCESS,
    checkKey: async () => undefined,
    controlSocket: '/nonexistent/control.sock',
    routes,
    log: createLogger({ program: 'gateway', level: 'debug', write: (line) => void lines.push(line) }),
    logsRequests: () => true,
    sweepMs: 20,
    ...options,
  })
  const port = await gateway.listen({ host: '127.0.0.1', port: 0 })
  onTestFinished(() => gateway.close(0))
  return { ...gateway, port, routes, lines }
}

/** One connection as seen from behind the gateway. */
export class Peer {
  readonly socket: Socket
  text = ''
  readonly #waiters = new Set<() => void>()
  #isOver = false
  error: Error | undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket
      .setEncoding('latin1')
      .on('data', (chunk: string) => {
        this.text += chunk
        this.#wake()
      })
      .on('error', (error) => {
        this.error = error
      })
      .on('end', () => this.#end())
      .on('close', () => this.#end())
  }

  send(text: string): this {
    this.socket.write(text, 'latin1')
    return this
  }

  /** Resolves with everything so far once it matches; rejects when the other side ends before. */
  async read(pattern: RegExp | string): Promise<string> {
    const isThere = () =>
      typeof pattern === 'string' ? this.text.includes(pattern) : pattern.test(this.text)
    while (!isThere()) {
      if (this.#isOver) throw new Error(`It ended before ${pattern}: ${JSON.stringify(this.text)}`)
      await this.#next()
    }
    return this.text
  }

  /** Takes what has come, so that the next read begins anew. */
  take(): string {
    const { text } = this
    this.text = ''
    return text
  }

  /** Resolves with everything once the other side has ended. */
  async ended(): Promise<string> {
    while (!this.#isOver) await this.#next()
    return this.text
  }

  #next(): Promise<void> {
    return new Promise((resolve) => this.#waiters.add(resolve))
  }

  #end(): void {
    this.#isOver = true
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#waiters) wake()
    this.#waiters.clear()
  }
}

export type RawServer = {
  port: number
  /** All connections so far. */
  peers: Peer[]
  /** Resolves with the connection of this number. */
  peer(at: number): Promise<Peer>
  server: Server
}

/** A server that says what the test makes it say; `onPeer` is called for every connection. */
export async function startRaw(onPeer: (peer: Peer, at: number) => void = () => {}): Promise<RawServer> {
  const peers: Peer[] = []
  const waiters = new Set<() => void>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const peer = new Peer(socket)
    peers.push(peer)
    onPeer(peer, peers.length - 1)
    for (const wake of waiters) wake()
    waiters.clear()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    for (const { socket } of peers) socket.destroy()
    server.close()
  })
  const address = server.address()
  return {
    server,
    port: typeof address === 'object' && address ? address.port : 0,
    peers,
    peer: async (at) => {
      for (;;) {
        const peer = peers[at]
        if (peer) return peer
        await new Promise<void>((resolve) => waiters.add(resolve))
      }
    },
  }
}

/** A server that answers every complete request without a body with `answer`, and keeps its connections. */
export function startAnswering(answer: string | ((head: string, at: number) => string)): Promise<RawServer> {
  return startRaw((peer, at) => {
    peer.socket.on('data', () => {
      for (;;) {
        const end = peer.text.indexOf('\r\n\r\n')
        if (end < 0) return
        const head = peer.text.slice(0, end + 4)
        peer.text = peer.text.slice(end + 4)
        peer.send(typeof answer === 'string' ? answer : answer(head, at))
      }
    })
  })
}

export function dial(port: number): Peer {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  onTestFinished(() => void socket.destroy())
  return new Peer(socket)
}

/** Sends bytes on a connection of their own and resolves with all that comes until the other side ends. */
export async function exchange(port: number, bytes: string): Promise<string> {
  return dial(port).send(bytes).ended()
}

/** A head for port 8000 of sandbox `a`. */
export function head(line: string, ...lines: string[]): string {
  return [`${line} HTTP/1.1`, 'Host: a-8000.localhost', ...lines, '', ''].join('\r\n')
}
