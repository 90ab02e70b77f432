// The product as the attack suite uses it, over the wire: sandboxes with a policy, commands in them, and what was recorded of them; and
// from the machine's side the network that a sandbox is in.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { NetworkPolicy } from '../../../lib/api/network-policy.ts'
import type { Edge } from '../../support/edge.ts'

const CALL_MS = 60_000
const COMMAND_MS = 180_000
const FOLLOW_MS = 200

export type DecisionEvent = {
  kind: string
  verdict: string
  reason: string
  name?: string
  address?: string
  port?: number
  protocol?: string
}

/** Grows while it is read. */
export type Follower = AsyncDisposable & { events: readonly DecisionEvent[] }

export type AttackSandbox = {
  id: string
  /** A process in it, as the machine numbers it. */
  pid: number
  address: string
  /** Its interface as it is called inside, and both ends' hardware addresses. */
  interface: string
  ownMac: string
  hostMac: string
}

/** Sleeps for so long that no other process has the same command line. */
let naps = 0
const MINE = /^sleep$/

type CreateOptions = { entrypoint?: string; credentialProxy?: { enabled: boolean } }

export type ProductClient = ReturnType<typeof createProductClient>

export function createProductClient(edge: Edge) {
  const call = async (method: string, path: string, body?: unknown) => {
    const answer = await fetch(`${edge.url}/v1${path}`, {
      method,
      ...(body !== undefined && {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
      signal: AbortSignal.timeout(CALL_MS),
    })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${method} ${path} was answered ${answer.status}: ${text}`)
    return (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>
  }
  const endpoints = new Map<string, { endpoint: string; headers: Record<string, string> }>()

  return {
    call,

    /** Its entrypoint is given the seconds that it is to sleep as `$NAP`. */
    async create(
      policy: NetworkPolicy,
      { entrypoint = 'exec sleep $NAP', ...more }: CreateOptions = {},
    ): Promise<AttackSandbox> {
      const nap = `${86_000 + ++naps}.${process.pid}`
      const made = await call('POST', '/sandboxes', {
        image: { uri: 'attack' },
        entrypoint: ['sh', '-c', entrypoint],
        env: { NAP: nap },
        resourceLimits: { cpu: '2', memory: '1Gi' },
        timeout: 900,
        networkPolicy: policy,
        ...more,
      })
      const pid = await pidOf(nap)
      return { id: String(made.id), pid, ...networkOf(pid) }
    },

    async remove(id: string): Promise<void> {
      await call('DELETE', `/sandboxes/${id}`)
    },

    /** Runs a command as root of the sandbox and gives what it printed. */
    async run(id: string, command: string): Promise<string> {
      let found = endpoints.get(id)
      if (!found) {
        found = (await call('GET', `/sandboxes/${id}/endpoints/44772`)) as {
          endpoint: string
          headers: Record<string, string>
        }
        endpoints.set(id, found)
      }
      const answer = await fetch(`http://${found.endpoint}/command`, {
        method: 'POST',
        headers: { ...found.headers, 'content-type': 'application/json' },
        body: JSON.stringify({ command, timeout: COMMAND_MS }),
        signal: AbortSignal.timeout(COMMAND_MS),
      })
      const frames = (await answer.text()).split('\n\n').filter((frame) => frame.startsWith('{'))
      return frames
        .map((frame) => JSON.parse(frame) as { type: string; text?: string })
        .filter(({ type }) => type === 'stdout' || type === 'stderr')
        .map(({ text = '' }) => (text.endsWith('\n') ? text : `${text}\n`))
        .join('')
    },

    setPolicy: (id: string, policy: NetworkPolicy) => call('PUT', `/sandboxes/${id}/networkpolicy`, policy),

    /** Reads the record of a sandbox until it is disposed of: what is kept of it is less than a busy sandbox leaves. */
    follow(id: string): Follower {
      const events: DecisionEvent[] = []
      let after = 0
      const read = async () => {
        for (;;) {
          const page = (await call(
            'GET',
            `/sandboxes/${id}/networkpolicy/events?after=${after}&limit=500`,
          )) as { events: DecisionEvent[]; next: number }
          events.push(...page.events)
          if (page.events.length === 0) return events
          after = page.next
        }
      }
      const life = new AbortController()
      const following = (async () => {
        while (!life.signal.aborted) {
          await read()
          await delay(FOLLOW_MS, undefined, { signal: life.signal }).catch(() => undefined)
        }
      })()
      return {
        events,
        async [Symbol.asyncDispose]() {
          life.abort()
          await following
        },
      }
    },
  }
}

/** The command that runs another one in a sandbox's network and files, with every capability of the machine. */
export function enter({ pid }: Pick<AttackSandbox, 'pid'>): string[] {
  return ['nsenter', '--target', String(pid), '--net', '--mount']
}

/** The command that runs another one in a sandbox's network alone. */
export function enterNetwork({ pid }: Pick<AttackSandbox, 'pid'>): string[] {
  return ['nsenter', '--target', String(pid), '--net']
}

async function pidOf(nap: string): Promise<number> {
  const deadline = performance.now() + 10_000
  while (performance.now() < deadline) {
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue
      const [program = '', argument] = commandLine(name)
      if (MINE.test(program) && argument === nap) return Number(name)
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  throw new Error(`There is no process that sleeps for ${nap} seconds`)
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return [] // it has ended meanwhile
  }
}

function networkOf(pid: number): Omit<AttackSandbox, 'id' | 'pid'> {
  const inside = (...args: string[]) =>
    JSON.parse(
      execFileSync('nsenter', ['--target', String(pid), '--net', 'ip', '-j', ...args], { encoding: 'utf8' }),
    ) as {
      ifname: string
      address: string
      link_index?: number
      addr_info?: { family: string; local: string }[]
    }[]
  const own = inside('address', 'show').find(({ ifname }) => ifname !== 'lo')
  const address = own?.addr_info?.find(({ family }) => family === 'inet')?.local
  if (!own || !address) throw new Error(`The process ${pid} has no network of a sandbox`)
  const links = JSON.parse(execFileSync('ip', ['-j', 'link', 'show'], { encoding: 'utf8' })) as {
    ifindex: number
    address: string
  }[]
  const hostMac = links.find(({ ifindex }) => ifindex === own.link_index)?.address
  if (!hostMac) throw new Error(`The machine has no other end of "${own.ifname}"`)
  return { address, interface: own.ifname, ownMac: own.address, hostMac }
}
