// A pod on this machine for the system tests: one network namespace in which egress runs as the sidecar, in a control group of its own and
// with no capability but the one that it needs, and beside it programs of the workload without any. Outside of it lies an internet with
// a name server.

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { systemCodeOf } from '../../lib/errors.ts'
import { endChild } from '../support/end-child.ts'
import { PATIENCE_MS } from '../support/patience.ts'
import { listen, run } from './network-lab.ts'

const ROOT = join(import.meta.dirname, '../..')
const NODE = join(ROOT, 'node_modules/node/bin/node')
const DENO = join(ROOT, 'node_modules/.bin/deno')
const FIXTURES = join(import.meta.dirname, 'fixtures')

export const TOKEN = 'a-token-of-a-pod'
export const POD = '203.0.113.2'
export const OUTSIDE = '203.0.113.1'
/** Stand for the internet, and for what is nobody's business. */
export const PUBLIC = '198.51.100.10'
export const PUBLIC_TOO = '198.51.100.11'
export const PRIVATE = '10.201.77.10'
export const METADATA = '169.254.169.254'

const ZONE = [
  `good.example=${PUBLIC}`,
  `twin.example=${PUBLIC}`,
  `other.example=${PUBLIC_TOO}`,
  `inner.example=${PRIVATE}`,
  'silent.example=',
]

/** In a container, where control groups show nothing but the container's own, and the name servers are the pod's. */
const ENTER = `set -e
echo $$ > "$1/cgroup.procs"
exec nsenter "--net=/run/netns/$2" unshare --mount --cgroup sh -c '
set -e
mount --make-rprivate /
umount --recursive --lazy /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount --bind "$1" /etc/resolv.conf
shift
exec setpriv --inh-caps=-all --bounding-set=-all,+net_admin --no-new-privs "$@"' sh "$3" "\${@:4}"`

export type Asked = { status: number; body: string }

export class PodLab {
  readonly namespace = `pod-lab-${randomBytes(4).toString('hex')}`
  readonly directory = join(tmpdir(), this.namespace)
  readonly outside = `${this.namespace}-out`
  readonly trustDir = join(this.directory, 'trust')
  readonly asked: string[] = []
  log = ''
  #egress: ChildProcess | undefined
  readonly #others: ChildProcess[] = []
  readonly #groups: string[] = []
  readonly #by: 'node' | 'deno'

  constructor(by: 'node' | 'deno' = 'node') {
    this.#by = by
  }

  /** Why there can be none here; undefined when there can. */
  static whyNot(): string | undefined {
    if (process.getuid?.() !== 0) return 'needs root'
    return controlGroups() ? undefined : 'needs control groups of version 2 that can be written to'
  }

  /** The pod and its outside; egress is not started. */
  async open(): Promise<void> {
    const inside = (...args: string[]) => run('ip', '-n', this.namespace, ...args)
    const out = (...args: string[]) => run('ip', '-n', this.outside, ...args)
    mkdirSync(this.directory, { mode: 0o700 })
    // That of the workload comes first.
    this.#makeGroup()
    await run('ip', 'netns', 'add', this.namespace)
    await run('ip', 'netns', 'add', this.outside)
    await out('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', this.namespace)
    await inside('link', 'set', 'lo', 'up')
    await inside('address', 'add', `${POD}/24`, 'dev', 'eth0')
    await inside('link', 'set', 'eth0', 'up')
    await inside('route', 'add', 'default', 'via', OUTSIDE)
    await out('link', 'set', 'lo', 'up')
    await out('link', 'set', 'eth0', 'up')
    await out('address', 'add', `${OUTSIDE}/24`, 'dev', 'eth0')
    for (const address of [PUBLIC, PUBLIC_TOO, PRIVATE, METADATA])
      await out('address', 'add', `${address}/32`, 'dev', 'lo')
    for (const port of [80, 853]) this.#others.push(await listen(this.outside, '0.0.0.0', port))
    this.#others.push(await this.#openNameServer())
  }

  /** Starts egress; resolves when it is ready, or rejects with its log when it ends. */
  async start(env: Record<string, string> = {}, ...args: string[]): Promise<void> {
    const group = this.#makeGroup()
    const resolvConf = join(this.directory, 'resolv.conf')
    writeFileSync(resolvConf, `nameserver ${OUTSIDE}\n`)
    const program = this.#by === 'deno' ? [DENO, 'run', '-A'] : [NODE]
    const command = [
      ...program,
      join(ROOT, 'egress/main.ts'),
      '--sidecar',
      '--data-dir',
      this.directory,
      ...args,
    ]
    const child = spawn('bash', ['-c', ENTER, 'bash', group, this.namespace, resolvConf, ...command], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        PATH: process.env.PATH,
        HOME: this.directory,
        OPENSANDBOX_EGRESS_TOKEN: TOKEN,
        OPENSANDBOX_EGRESS_MODE: 'dns+nft',
        OPENSANDBOX_EGRESS_TRUST_DIR: this.trustDir,
        ...env,
      },
    })
    this.#egress = child
    const from = this.log.length
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`egress ${why}:\n${this.log.slice(from)}`))
      const timer = setTimeout(() => fail('is not ready in time'), PATIENCE_MS)
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        this.log += text
        if (!/ ready /.test(this.log.slice(from))) return
        clearTimeout(timer)
        resolve()
      })
      child.once('close', (code) => {
        clearTimeout(timer)
        fail(`ended with ${code}`)
      })
    })
  }

  /** Ends egress and resolves with its exit code, or null after a signal that it does not handle. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.#egress
    this.#egress = undefined
    return child ? endChild(child, signal) : null
  }

  /** A request to the API, from outside as control would make it, or from within the pod. */
  async ask(
    method: string,
    path: string,
    {
      body,
      token = TOKEN,
      from = 'outside',
    }: { body?: unknown; token?: string; from?: 'outside' | 'within' } = {},
  ): Promise<Asked> {
    const host = from === 'outside' ? POD : '127.0.0.1'
    const args = ['-s', '-m', '10', '-X', method, '-w', '\n%{http_code}', `http://${host}:18080${path}`]
    if (token !== '') args.push('-H', `OPENSANDBOX-EGRESS-AUTH: ${token}`)
    if (body !== undefined) args.push('--data-binary', typeof body === 'string' ? body : JSON.stringify(body))
    const text =
      from === 'outside'
        ? await run('ip', 'netns', 'exec', this.outside, 'curl', ...args)
        : await this.run(['curl', ...args])
    const at = text.lastIndexOf('\n')
    return { status: Number(text.slice(at + 1)), body: text.slice(0, at) }
  }

  async setPolicy(policy: unknown): Promise<void> {
    const { status, body } = await this.ask('PUT', '/policy', { body: policy })
    if (status !== 200) throw new Error(`the policy was answered with ${status}: ${body}`)
  }

  /** Runs a program of the workload, by default as root; what it prints. */
  run(command: readonly string[], uid = 0): Promise<string> {
    return run('bash', ...this.#workload(command, uid))
  }

  /** `open …`, `failed CODE` or `silent`. */
  async dial(address: string, port = 80, ...more: string[]): Promise<string> {
    return (await this.run([NODE, join(FIXTURES, 'dial.ts'), address, String(port), ...more])).trim()
  }

  async resolve(name: string, server = OUTSIDE, transport: 'udp' | 'tcp' = 'udp'): Promise<unknown> {
    const { name: _, ...rest } = JSON.parse(
      await this.run([NODE, join(FIXTURES, 'resolve.ts'), server, transport, name]),
    )
    return rest
  }

  /** Keeps a connection of the workload open; `say` resolves with what came back. */
  async hold(address: string, protocol = 'tcp', port = 80) {
    const fixture = [NODE, join(FIXTURES, 'dial.ts'), address, String(port), protocol, 'stay']
    const child = spawn('bash', this.#workload(fixture, 0), { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#others.push(child)
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const line = async () => String((await lines.next()).value)
    const first = await line()
    return {
      first,
      say: (text: string) => {
        const answered = line()
        child.stdin.write(`${text}\n`)
        return answered
      },
      next: line,
      end: () => void child.kill('SIGKILL'),
    }
  }

  /** Has the workload listen at a port; resolves once it does. */
  async serve(address: string, port: number): Promise<ChildProcess> {
    const fixture = [NODE, join(FIXTURES, 'listener.ts'), address, String(port)]
    const child = spawn('bash', this.#workload(fixture, 0), { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#others.push(child)
    await firstLine(child)
    return child
  }

  rules(): Promise<string> {
    return run('ip', 'netns', 'exec', this.namespace, 'nft', 'list', 'ruleset')
  }

  async close(): Promise<void> {
    await this.stop()
    for (const child of this.#others) child.kill('SIGKILL')
    await run('ip', 'netns', 'delete', this.namespace)
    await run('ip', 'netns', 'delete', this.outside)
    for (const group of this.#groups) await removeGroup(group)
    rmSync(this.directory, { recursive: true, force: true })
  }

  #makeGroup(): string {
    const group = join(controlGroups() ?? '', `${this.namespace}-${this.#groups.length}`)
    mkdirSync(group)
    this.#groups.push(group)
    return group
  }

  #workload(command: readonly string[], uid: number): string[] {
    const group = this.#groups[0] ?? ''
    const lacking = ['--inh-caps=-all', '--bounding-set=-net_admin,-net_raw', '--no-new-privs']
    const who = uid === 0 ? [] : [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
    const enter = ['nsenter', `--net=/run/netns/${this.namespace}`, 'setpriv', ...lacking, ...who]
    return ['-c', 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"', 'bash', group, ...enter, ...command]
  }

  async #openNameServer(): Promise<ChildProcess> {
    const fixture = [NODE, join(FIXTURES, 'name-server.ts'), OUTSIDE, ...ZONE]
    const child = spawn('ip', ['netns', 'exec', this.outside, ...fixture], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await firstLine(child)
    createInterface({ input: child.stdout }).on('line', (line) => this.asked.push(line))
    return child
  }
}

async function firstLine(child: ChildProcess): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once('data', () => resolve())
    child.once('exit', (code) => reject(new Error(`it ended with ${code}`)))
  })
}

/** Ends what is still in a group, and removes it once the kernel has let go of that. */
async function removeGroup(group: string): Promise<void> {
  writeFileSync(join(group, 'cgroup.kill'), '1')
  for (let triesLeft = 200; ; triesLeft--)
    try {
      return rmdirSync(group)
    } catch (error) {
      if (systemCodeOf(error) !== 'EBUSY' || triesLeft === 0) throw error
      await delay(20)
    }
}

/** Where control groups of version 2 lie, when groups can be made there. */
function controlGroups(): string | undefined {
  const point = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .find(([, , type]) => type === 'cgroup2')?.[1]
  if (point === undefined || !existsSync(point)) return undefined
  const probe = join(point, `pod-lab-${process.pid}`)
  try {
    mkdirSync(probe)
    rmdirSync(probe)
    return point
  } catch {
    // Where it is mounted to be read only, containers must be made by somebody else.
    return undefined
  }
}
