// A small network on this machine for the system tests: egress as a real process with a data directory of its own, guests in
// network namespaces behind veth pairs as the local runtime makes them, and an outside in another namespace with addresses that
// stand for the internet (TEST-NET-2) and for a private network.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import dnsPacket from 'dns-packet'
import { address6Of } from '../../lib/address6.ts'
import type { EgressNetwork } from '../../lib/api/egress-admin.ts'
import { type Instance, instanceOf } from '../../lib/instance.ts'
import { endChild } from '../support/end-child.ts'
import { PATIENCE_MS } from '../support/patience.ts'
import { formatReply } from './fixtures/format-reply.ts'

const ROOT = join(import.meta.dirname, '../..')
const NODE = join(ROOT, 'node_modules/node/bin/node')
const FIXTURES = join(import.meta.dirname, 'fixtures')
const SEND_FRAMES = `import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
    wire.bind((sys.argv[1], 0))
    for frame in sys.argv[2:]:
        wire.send(bytes.fromhex(frame))`

export const TOKEN = 'a-token-of-a-guest-1'
/** Stands for the internet. */
export const PUBLIC = '198.51.100.10'
export const PUBLIC_TOO = '198.51.100.11'
/** The internet by IPv6. */
export const PUBLIC_6 = '2001:db8:a::10'
/** Stands for a network that is nobody's business. */
export const PRIVATE = '10.201.77.10'

const execute = promisify(execFile)
export async function run(command: string, ...args: string[]): Promise<string> {
  const { stdout } = await execute(command, args, { timeout: 20_000 })
  return stdout
}
const ip = (...args: string[]) => run('ip', ...args)

export type Answer = { status: number; headers: Record<string, string | string[] | undefined>; body: string }

/** One request over a Unix socket. */
export function ask(
  socketPath: string,
  method: string,
  path: string,
  { body, token }: { body?: unknown; token?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { socketPath, method, path, headers: token ? { 'OPENSANDBOX-EGRESS-AUTH': token } : {} },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          text += chunk
        })
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
        )
      },
    )
    request.on('error', reject)
    request.setTimeout(10_000, () => request.destroy(new Error(`no answer to ${method} ${path}`)))
    request.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body))
  })
}

export class Lab {
  readonly dataDir = mkdtempSync(join(tmpdir(), 'egress-lab-'))
  readonly instance: Instance = instanceOf(this.dataDir)
  readonly by: 'node' | 'deno'
  /** What the fake name server of the host answers: name to addresses. */
  readonly zone = new Map<string, string[]>()
  readonly asked: string[] = []
  /** What stands in the configuration beside the name server. */
  settings = ''
  network: EgressNetwork = { subnet: '', gateway: '', interfacePrefix: '' }
  #egress: ChildProcess | undefined
  #log = ''
  #dns: Socket | undefined
  #outside: ChildProcess[] = []
  readonly #namespaces: string[] = []
  readonly #key: string

  constructor(by: 'node' | 'deno' = 'node') {
    this.by = by
    this.#key = this.instance.key
  }

  get table(): string {
    return `opensandbox_${this.#key}`
  }

  get log(): string {
    return this.#log
  }

  /** Opens the outside and starts egress. */
  async open(): Promise<void> {
    await this.#openDns()
    await this.#openOutside()
    await this.start()
  }

  async start(): Promise<void> {
    const config = join(this.dataDir, 'edge.toml')
    const port = this.#dns?.address().port
    writeFileSync(config, `[egress]\nupstream_dns = ["127.0.0.1:${port}"]\n${this.settings}`)
    const program = [join(ROOT, 'egress/main.ts'), '--config', config, '--data-dir', this.dataDir]
    const child =
      this.by === 'deno'
        ? spawn(join(ROOT, 'node_modules/.bin/deno'), ['run', '-A', ...program], {
            stdio: ['ignore', 'ignore', 'pipe'],
          })
        : spawn(NODE, program, { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#egress = child
    const from = this.#log.length
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#log += text
    })
    await this.waitForLog(/ ready /, { from })
    this.network = JSON.parse((await this.admin('GET', '/network')).body) as EgressNetwork
  }

  /** Ends egress and resolves with its exit code, or null after a signal that it does not handle. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.#egress
    this.#egress = undefined
    return child ? endChild(child, signal) : null
  }

  /** Resolves once the log matches, with the match. */
  async waitForLog(pattern: RegExp, { from = 0 } = {}): Promise<RegExpExecArray> {
    const child = this.#egress
    return new Promise((resolve, reject) => {
      const check = () => {
        const match = pattern.exec(this.#log.slice(from))
        if (match) finish(() => resolve(match))
      }
      const finish = (settle: () => void) => {
        clearTimeout(timer)
        child?.stderr?.off('data', check)
        child?.off('exit', onExit)
        settle()
      }
      const fail = (why: string) => reject(new Error(`${why}: ${pattern} is not in:\n${this.#log}`))
      const timer = setTimeout(() => finish(() => fail('not in time')), PATIENCE_MS)
      const onExit = () => finish(() => fail('egress ended'))
      child?.stderr?.on('data', check)
      child?.on('exit', onExit)
      check()
    })
  }

  admin(method: string, path: string, body?: unknown): Promise<Answer> {
    return ask(this.instance.egressSocket, method, path, body === undefined ? {} : { body })
  }

  policy(id: string, method: string, body?: unknown, token = TOKEN): Promise<Answer> {
    return ask(this.instance.policySocket, method, `/sandboxes/${id}/policy`, {
      token,
      ...(body !== undefined && { body }),
    })
  }

  /** What is asked about a policy. */
  ask(guest: Guest, question: string): Promise<Answer> {
    return ask(this.instance.policySocket, 'GET', `/sandboxes/${guest.id}/policy/${question}`, {
      token: TOKEN,
    })
  }

  /** A namespace behind a veth pair, as the local runtime makes one. It is not registered yet. */
  async addGuest(
    index: number,
    { address = this.network.gateway.replace(/\d+$/, String(10 + index)) } = {},
  ): Promise<Guest> {
    const { gateway, interfacePrefix, subnet6, gateway6 } = this.network
    const namespace = `lab-${this.#key}-${index}`
    const name = `${interfacePrefix}g${index}`
    await ip('netns', 'add', namespace)
    this.#namespaces.push(namespace)
    await ip('link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace)
    writeFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, subnet6 === undefined ? '1' : '0')
    await ip('link', 'set', name, 'up')
    await ip('route', 'add', `${address}/32`, 'dev', name, 'src', gateway)
    const inside = (...args: string[]) => ip('-n', namespace, ...args)
    await inside('link', 'set', 'lo', 'up')
    await inside('address', 'add', `${address}/32`, 'dev', 'eth0')
    await inside('link', 'set', 'eth0', 'up')
    await inside('route', 'add', 'default', 'via', gateway, 'dev', 'eth0', 'onlink')
    if (subnet6 && gateway6) {
      const own = address6Of(subnet6, address)
      const macOf = async (shown: Promise<string>) =>
        (JSON.parse(await shown) as { address: string }[])[0]?.address ?? ''
      await inside('address', 'add', `${own}/128`, 'dev', 'eth0', 'nodad')
      const host = await macOf(ip('-j', 'link', 'show', 'dev', name))
      await inside('neigh', 'add', gateway6, 'lladdr', host, 'nud', 'permanent', 'dev', 'eth0')
      await inside('route', 'add', gateway6, 'dev', 'eth0')
      await inside('route', 'add', 'default', 'via', gateway6, 'dev', 'eth0')
      await ip('route', 'replace', `${own}/128`, 'dev', name)
      const mac = await macOf(inside('-j', 'link', 'show', 'dev', 'eth0'))
      await ip('neigh', 'replace', own, 'lladdr', mac, 'nud', 'permanent', 'dev', name)
    }
    return new Guest({ id: `guest-${index}`, namespace, address, interface: name, gateway })
  }

  /** Takes a guest's link away, as its runtime does, so that it can say nothing more to anybody. */
  async unplug(guest: Guest): Promise<void> {
    await ip('link', 'delete', guest.interface)
  }

  async register(guest: Guest, policy?: unknown): Promise<Answer> {
    return this.admin('PUT', `/sandboxes/${guest.id}`, {
      address: guest.address,
      interface: guest.interface,
      token: TOKEN,
      ...(policy !== undefined && { policy }),
    })
  }

  async rules(): Promise<string> {
    return run('nft', 'list', 'table', 'inet', this.table).catch(() => '')
  }

  /** Leaves nothing behind; resolves with what `--teardown` said. */
  async close(): Promise<void> {
    await this.stop()
    for (const child of this.#outside) child.kill('SIGKILL')
    // By itself, as somebody may still hold the namespace.
    await ip('link', 'delete', this.#outsideLink).catch(() => {})
    for (const namespace of this.#namespaces) await ip('netns', 'delete', namespace)
    await this.teardown()
    this.#dns?.close()
    rmSync(this.dataDir, { recursive: true, force: true })
    rmSync(this.instance.runDir, { recursive: true, force: true })
  }

  async teardown(): Promise<void> {
    await run(NODE, join(ROOT, 'egress/main.ts'), '--data-dir', this.dataDir, '--teardown')
  }

  /** Runs egress as one that is expected to refuse. */
  async runAlone(): Promise<void> {
    await run(NODE, join(ROOT, 'egress/main.ts'), '--data-dir', this.dataDir)
  }

  /** The pid that writes the log, to be killed by a test. */
  get pid(): number {
    return this.#egress?.pid ?? 0
  }

  async #openDns(): Promise<void> {
    const socket = createSocket('udp4')
    this.#dns = socket
    socket.on('message', (message, from) => {
      const query = dnsPacket.decode(message)
      const [question] = query.questions ?? []
      if (!question) return
      this.asked.push(question.name)
      const reply = formatReply(query, question, this.zone.get(question.name))
      socket.send(reply, from.port, from.address)
    })
    await new Promise<void>((resolve) => socket.bind({ address: '127.0.0.1', port: 0 }, resolve))
  }

  /** The namespace of the outside. */
  get outside(): string {
    return `lab-${this.#key}-out`
  }

  get #outsideLink(): string {
    return `lab${this.#key}out`
  }

  async #openOutside(): Promise<void> {
    const there = await ip('-brief', 'address', 'show', 'to', '198.51.100.1')
    // Packets would go there.
    if (there !== '') throw new Error(`Another lab is open, or was left behind: ${there.split(/[ @]/, 1)}`)
    const namespace = this.outside
    await ip('netns', 'add', namespace)
    this.#namespaces.push(namespace)
    const name = this.#outsideLink
    await ip('link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace)
    await ip('address', 'add', '198.51.100.1/24', 'dev', name)
    await ip('address', 'add', '10.201.77.1/24', 'dev', name)
    await ip('link', 'set', name, 'up')
    for (const address of [`${PUBLIC}/24`, `${PUBLIC_TOO}/24`, `${PRIVATE}/24`])
      await ip('-n', namespace, 'address', 'add', address, 'dev', 'eth0')
    await ip('address', 'add', '2001:db8:a::1/64', 'dev', name, 'nodad')
    await ip('-n', namespace, 'address', 'add', `${PUBLIC_6}/64`, 'dev', 'eth0', 'nodad')
    await ip('-n', namespace, 'link', 'set', 'eth0', 'up')
    await ip('-n', namespace, 'route', 'add', 'default', 'via', '198.51.100.1')
    for (const port of [80, 853]) this.#outside.push(await listen(namespace, '0.0.0.0', port))
  }
}

/** Starts the listener fixture in a namespace and resolves once it listens. */
export function listen(namespace: string, address: string, port: number): Promise<ChildProcess> {
  return startListener(['ip', 'netns', 'exec', namespace, NODE], address, port)
}

/** The same on the host itself. */
export function listenHere(address: string, port: number): Promise<ChildProcess> {
  return startListener([NODE], address, port)
}

async function startListener(
  [program = '', ...args]: string[],
  address: string,
  port: number,
): Promise<ChildProcess> {
  const child = spawn(program, [...args, join(FIXTURES, 'listener.ts'), address, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve())
    child.once('exit', (code) => reject(new Error(`the listener ended with ${code}`)))
  })
  return child
}

export class Guest {
  readonly id: string
  readonly namespace: string
  readonly address: string
  readonly interface: string
  readonly gateway: string

  constructor(values: Pick<Guest, 'id' | 'namespace' | 'address' | 'interface' | 'gateway'>) {
    this.id = values.id
    this.namespace = values.namespace
    this.address = values.address
    this.interface = values.interface
    this.gateway = values.gateway
  }

  /** `open …`, `failed CODE` or `silent`. */
  async dial(address: string, port = 80, ...more: string[]): Promise<string> {
    return (await this.#node('dial.ts', address, String(port), ...more)).trim()
  }

  async resolve(
    name: string,
    { server = this.gateway, transport = 'udp' }: { server?: string; transport?: 'udp' | 'tcp' } = {},
  ): Promise<{ rcode?: number; data?: string[]; outcome?: string }> {
    const { name: _, ...rest } = JSON.parse(await this.#node('resolve.ts', server, transport, name))
    return rest
  }

  /** Sends a datagram to each place every millisecond, until it is killed. */
  async flood(...places: string[]): Promise<ChildProcess> {
    const child = spawn('ip', this.#command('flood.ts', ...places), { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve())
      child.once('exit', (code) => reject(new Error(`the flood ended with ${code}`)))
    })
    return child
  }

  /** Sends frames that begin with these types, written in hexadecimal, and hold nothing. */
  async sendFrames(...types: string[]): Promise<void> {
    const addresses = '020000000001'.repeat(2)
    const frames = types.map((type) => `${addresses}${type}${'00'.repeat(60)}`)
    await run('ip', 'netns', 'exec', this.namespace, 'python3', '-c', SEND_FRAMES, 'eth0', ...frames)
  }

  /** Counts, from now on, the datagrams that arrive at a port. */
  async count(port: number): Promise<() => Promise<number>> {
    return countDatagrams(this.namespace, port)
  }

  /** What comes of asking the proxy: how it answered, and what the server said. */
  async askProxy(how: 'http' | 'socks5' | 'url', target: string, name = ''): Promise<string> {
    return (await this.#node('ask-proxy.ts', this.gateway, '3128', how, target, name)).trim()
  }

  /** Keeps a connection open; `say` resolves with what came back, `next` with what comes by itself. */
  async hold(
    address: string,
    protocol = 'tcp',
    port = 80,
  ): Promise<{ say(text: string): Promise<string>; next(): Promise<string>; end(): void }> {
    const child = spawn('ip', this.#command('dial.ts', address, String(port), protocol, 'stay'), {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const line = async () => String((await lines.next()).value)
    await line()
    return {
      say: (text) => {
        const answered = line()
        child.stdin.write(`${text}\n`)
        return answered
      },
      next: line,
      end: () => void child.kill('SIGKILL'),
    }
  }

  #node(fixture: string, ...args: string[]): Promise<string> {
    return run('ip', ...this.#command(fixture, ...args))
  }

  #command(fixture: string, ...args: string[]): string[] {
    return ['netns', 'exec', this.namespace, NODE, join(FIXTURES, fixture), ...args]
  }
}

/** Counts, from now on, the datagrams that arrive at a port of a namespace. */
export async function countDatagrams(namespace: string, port: number): Promise<() => Promise<number>> {
  const nft = (...args: string[]) => run('ip', 'netns', 'exec', namespace, 'nft', ...args)
  const table = `count${port}`
  await nft(
    `add table ip ${table}; add chain ip ${table} c { type filter hook prerouting priority 0; }; add rule ip ${table} c udp dport ${port} counter`,
  )
  return async () => Number(/packets (\d+)/.exec(await nft('list', 'table', 'ip', table))?.[1] ?? Number.NaN)
}

/** Counts, from now on, the packets of TCP and UDP that a namespace has from an address, or sends from it. */
export async function countPackets(
  namespace: string,
  hook: 'prerouting' | 'output',
  source: string,
): Promise<() => Promise<{ tcp: number; udp: number }>> {
  const nft = (...args: string[]) => run('ip', 'netns', 'exec', namespace, 'nft', ...args)
  const family = source.includes(':') ? 'ip6' : 'ip'
  const table = `${family} ${hook}`
  const rule = (protocol: string) =>
    `add rule ${table} c ${family} saddr ${source} meta l4proto ${protocol} counter`
  await nft(
    `add table ${table}; add chain ${table} c { type filter hook ${hook} priority 0; }; ${rule('tcp')}; ${rule('udp')}`,
  )
  return async () => {
    const listed = await nft('list', 'table', family, hook)
    const [tcp = Number.NaN, udp = Number.NaN] = [...listed.matchAll(/packets (\d+)/g)].map(([, count]) =>
      Number(count),
    )
    return { tcp, udp }
  }
}

/** Whether the forwarding of this machine was on, for tests that must not change what they find. */
export function forwarding(): string {
  return readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8').trim()
}
