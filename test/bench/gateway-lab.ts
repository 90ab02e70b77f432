// What the benchmarks of the gateway have in common: the gateway and its peers on one core, what loads them and what is behind
// them on the other.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { GatewayFigures } from '../../lib/api/gateway-admin.ts'
import { gatewaySocketOf, type Instance, instanceOf } from '../../lib/instance.ts'
import { FakeControl } from '../gateway/fake-control.ts'
import { freePort } from '../support/edge.ts'
import { waitForPort } from '../support/wait-for-port.ts'
import { cpuSecondsOfProcess, privateBytesOfProcess } from './process-cost.ts'

const ROOT = join(import.meta.dirname, '../..')
/** Where the gateway and its peers run, and where the load and the upstream do. */
const PROXY_CORE = 0
const LOAD_CORE = 1
/** What a proxy needs beside its connections. */
const FILES_LEFT = 200

/** Something that passes requests on. */
export type ReverseProxy = { name: string; port: number; host: string; children: ChildProcess[] }

/** What is missing for a benchmark that needs these programs; undefined when it can run. */
export function whatIsMissing(programs: readonly string[]): string | undefined {
  const missing = [...programs, 'taskset'].filter((name) => !isInstalled(name))
  return missing.join(', ') || (cpus().length < 2 ? 'two cores' : undefined)
}

export function isInstalled(name: string): boolean {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin']
  return folders.some((folder) => existsSync(join(folder, name)))
}

/** How many connections can be led through at once: each is two files of the proxy. */
export function maxProxied(): number {
  const [, limit] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? []
  return Math.floor((Number(limit) - FILES_LEFT) / 2)
}

export class GatewayLab implements AsyncDisposable {
  readonly folder: string
  readonly control: FakeControl
  readonly #instance: Instance
  readonly #children: ChildProcess[] = []
  readonly #pings: NodeJS.Timeout

  private constructor(folder: string, instance: Instance, control: FakeControl) {
    this.folder = folder
    this.#instance = instance
    this.control = control
    this.#pings = setInterval(() => control.send({ type: 'ping', version: control.version }), 5000)
  }

  static async create(): Promise<GatewayLab> {
    const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'bench-gateway-'))
    const instance = instanceOf(folder)
    mkdirSync(instance.runDir, { recursive: true, mode: 0o700 })
    return new GatewayLab(folder, instance, await new FakeControl(instance).start())
  }

  /** A sandbox whose port 8000 is a port of this machine; returns its host name, without the gateway's port. */
  route(id: string, port: number, generation = 1): string {
    this.control.put({
      id,
      state: 'running',
      address: '127.0.0.1',
      generation,
      ports: { 8000: { host: '127.0.0.1', port } },
    })
    return `${id}-8000.localhost`
  }

  /** The gateway, with lines of its configuration file, at a port that others may have, too. It is asked for `host` below. */
  async startGateway(host: string, toml = '', sharedPort?: number): Promise<ReverseProxy> {
    const port = sharedPort ?? (await freePort())
    const config = join(this.folder, `edge-${port}.toml`)
    // The load breaks its connections off at its end, which the gateway would tell one by one.
    writeFileSync(config, `[log]\nlevel = "warn"\n${toml}`)
    const child = this.spawn('proxy', process.execPath, [
      join(ROOT, 'gateway/main.ts'),
      '--port',
      String(port),
      '--data-dir',
      this.folder,
      '--config',
      config,
    ])
    await waitForPort(port)
    return { name: 'gateway', port, host: `${host}:${port}`, children: [child] }
  }

  /** Resolves when a gateway has taken all routes that there were. */
  async untilTaken({ children }: ReverseProxy): Promise<void> {
    // The feed is in order, so who knows the last one knows all.
    this.route(`last${String(this.control.version).padStart(12, '0')}`, 1)
    const socketPath = gatewaySocketOf(this.#instance, children[0]?.pid ?? 0)
    const deadline = performance.now() + 30_000
    for (;;) {
      const { families } = (await getJson(socketPath, '/figures')) as GatewayFigures
      const known = families.find(({ name }) => name === 'opensandbox_gateway_routes')?.samples[0]?.value
      if (known === this.control.routes.size) return
      if (performance.now() > deadline)
        throw new Error(`The gateway knows ${known} routes of ${this.control.routes.size} after 30 seconds`)
      await delay(20)
    }
  }

  async startNginx(where: 'proxy' | 'load', http: (port: number) => string): Promise<ReverseProxy> {
    const port = await freePort()
    const name = `nginx-${port}`
    const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((kind) => `${kind}_temp_path ${join(this.folder, `${name}-${kind}`)};`)
      .join('\n')
    const file = join(this.folder, `${name}.conf`)
    // Without a master there is one process, whose time can be told.
    writeFileSync(
      file,
      `user root; master_process off; daemon off; pid ${join(this.folder, `${name}.pid`)}; error_log stderr crit;
events { worker_connections 32768; }
http { access_log off; keepalive_requests 100000000; sendfile on; tcp_nopush on; ${temp} ${http(port)} }
`,
    )
    const child = this.spawn(where, 'nginx', ['-c', file, '-p', this.folder])
    await waitForPort(port)
    return { name: 'nginx', port, host: `127.0.0.1:${port}`, children: [child] }
  }

  /** HAProxy with one thread, which passes everything on to one port. */
  async startHaproxy(upstream: number): Promise<ReverseProxy> {
    const port = await freePort()
    const file = join(this.folder, `haproxy-${port}.cfg`)
    writeFileSync(
      file,
      `global
  nbthread 1
  maxconn ${maxProxied()}
defaults
  mode http
  option http-keep-alive
  timeout connect 5s
  timeout client 10m
  timeout server 10m
  timeout tunnel 1h
frontend front
  bind 127.0.0.1:${port} backlog 1024
  default_backend back
backend back
  http-reuse always
  server one 127.0.0.1:${upstream}
`,
    )
    const child = this.spawn('proxy', 'haproxy', ['-db', '-q', '-f', file])
    await waitForPort(port)
    return { name: 'HAProxy', port, host: `127.0.0.1:${port}`, children: [child] }
  }

  /** Starts a program on its core, which ends with the lab. */
  spawn(where: 'proxy' | 'load', command: string, args: readonly string[]): ChildProcess {
    const core = where === 'proxy' ? PROXY_CORE : LOAD_CORE
    const child = spawn('taskset', ['-c', String(core), command, ...args], {
      cwd: ROOT,
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    this.#children.push(child)
    return child
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#pings)
    await Promise.all(this.#children.map(end))
    await this.control[Symbol.asyncDispose]()
    rmSync(this.#instance.runDir, { recursive: true, force: true })
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** What a program wrote that loads a proxy, from the load's core. Throws when it fails. */
export function runLoad(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('taskset', ['-c', String(LOAD_CORE), command, ...args], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    child.stdout.on('data', (chunk) => {
      text += chunk
    })
    child.on('error', reject)
    child.on('close', (code) =>
      code === 0 ? resolve(text) : reject(new Error(`${command} ended with ${code}`)),
    )
  })
}

/** Seconds of processor time that a proxy has used. */
export function cpuSecondsOf({ children }: ReverseProxy): number {
  return children.reduce((sum, { pid = 0 }) => sum + cpuSecondsOfProcess(pid), 0)
}

/** Bytes that are a proxy's alone. */
export function privateBytesOf({ children }: ReverseProxy): number {
  return children.reduce((sum, { pid = 0 }) => sum + privateBytesOfProcess(pid), 0)
}

function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.on('exit', () => resolve())
    child.kill('SIGTERM')
  })
}

function getJson(socketPath: string, path: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    get({ socketPath, path, timeout: 5000 }, (response) => {
      let text = ''
      response.on('data', (chunk) => {
        text += chunk
      })
      response.on('end', () => resolve(JSON.parse(text)))
      response.on('error', reject)
    }).on('error', reject)
  })
}
