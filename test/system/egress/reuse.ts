// The next sandbox at an address against what the one before it has open: servers that go on sending, and packets of its own that fit.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import type { NetworkPolicy } from '../../../lib/api/network-policy.ts'
import { endControl } from './happenings.ts'
import { OPEN } from './internet.ts'
import { runIn } from './perform.ts'
import { type AttackSandbox, type DecisionEvent, enterNetwork } from './product.ts'
import type { World } from './world.ts'

const FIXTURES = join(import.meta.dirname, '../../egress/fixtures')
const TAKE_OVER = join(FIXTURES, 'take-over.py')
/** Where a server listens that sends without end. */
const PORT = 8099
const SERVER = `${OPEN},${PORT}`
const POLICY: NetworkPolicy = { defaultAction: 'deny', egress: [{ action: 'allow', target: OPEN }] }
const PROGRAM_MS = 60_000
/** Until the kernel has told egress what it refused. */
const RECORD_MS = 8000

/** Resolves with what was seen, and with what is wrong when anything is. */
export async function goOnWithOthers(
  world: World,
): Promise<{ seen: string; wrong?: string; arrived?: boolean }> {
  await using started = new AsyncDisposableStack()
  const start = async ([program = '', ...args]: string[]) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], timeout: PROGRAM_MS })
    started.defer(() => void child.kill('SIGKILL'))
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const line = async () => String((await lines.next()).value)
    await line()
    return { line, say: (text: string) => void child.stdin.write(`${text}\n`) }
  }
  const node = (namespace: string[], fixture: string, ...args: string[]) =>
    start([...namespace, process.execPath, join(FIXTURES, fixture), OPEN, `${PORT}`, ...args])
  await node(['ip', 'netns', 'exec', world.namespace], 'listener.ts')

  // Control that starts anew goes on behind the highest address in use.
  const lower = await world.product.create(POLICY)
  started.defer(() => world.product.remove(lower.id))
  const before = await world.product.create(POLICY)
  const inside = enterNetwork(before)
  const watching = await start([...inside, 'python3', TAKE_OVER, 'watch', SERVER, '1'])
  await node(inside, 'dial.ts', 'stream')
  const held = await node(inside, 'dial.ts', 'tcp', 'stay')
  const where = await watching.line()
  held.say('stream')
  // The connections have other processes than the sandbox's, so they end without a word.
  await world.product.remove(before.id)

  await endControl(world)
  const next = await world.product.create(POLICY)
  started.defer(() => world.product.remove(next.id))
  if (next.address !== before.address)
    return { seen: '', wrong: `it has ${next.address}, not ${before.address}` }
  const answered = await runIn(enterNetwork(next), [
    ...['python3', TAKE_OVER, 'try', SERVER, where, 'datagram', 'middle:0', 'begin:0', 'error'],
  ])
  if (answered.trim() !== '[]') return { seen: '', arrived: true, wrong: `it was answered ${answered}` }
  const missing = await notRecorded(world, next)
  return missing.length === 0
    ? { seen: 'nothing came of four packets that fit' }
    : { seen: '', wrong: `nothing was recorded of ${missing.join(', ')}` }
}

async function notRecorded({ product }: World, { id }: AttackSandbox): Promise<string[]> {
  const deadline = performance.now() + RECORD_MS
  for (;;) {
    const { events } = (await product.call('GET', `/sandboxes/${id}/networkpolicy/events?limit=500`)) as {
      events: DecisionEvent[]
    }
    const missing = ['tcp', 'udp', 'icmp'].filter(
      (wanted) =>
        !events.some(
          ({ verdict, address, protocol }) => verdict === 'deny' && address === OPEN && protocol === wanted,
        ),
    )
    if (missing.length === 0 || performance.now() > deadline) return missing
    await delay(200)
  }
}
