// Moments: a sandbox that attacks all the time while something happens to it, to its policy or to egress. Nothing of it may arrive, or
// nothing after the policy has been answered for.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { tableName } from '../../../egress/nft/rules.ts'
import type { NetworkPolicy } from '../../../lib/api/network-policy.ts'
import { instanceOf } from '../../../lib/instance.ts'
import { endEgress, repaired, runHere, stateOf } from './happenings.ts'
import { FIRST_PORT, OPEN, TOKEN_PREFIX } from './internet.ts'
import type { Outcome } from './outcome.ts'
import type { AttackSandbox } from './product.ts'
import { goOnWithOthers } from './reuse.ts'
import type { World } from './world.ts'

/** Beyond the numbers of the table. */
const FIRST_NUMBER = 400
/** What is on its way when a policy is answered for may still arrive. */
const SLACK_SECONDS = 0.25
const KILLS = 20

const DENIED: NetworkPolicy = { defaultAction: 'deny', egress: [] }
const allowing = (...targets: string[]): NetworkPolicy => ({
  defaultAction: 'deny',
  egress: targets.map((target) => ({ action: 'allow', target })),
})

/** What somebody else on the machine does to the rules. */
const REMOVALS: Record<string, { what: string; commands(table: string): string[][] }> = {
  'B6-host-flush': {
    what: 'every rule of the machine removed by somebody else',
    commands: () => [['nft', 'flush', 'ruleset']],
  },
  'B6-host-delete': {
    what: 'the table of egress removed by somebody else',
    commands: (table) => [['nft', 'delete', 'table', 'inet', table]],
  },
  'B6-host-empty': {
    what: 'the table of egress emptied by somebody else',
    commands: (table) => [['nft', 'flush', 'table', 'inet', table]],
  },
}
const REPEATS = 2

type Verdict = { seen: string; wrong?: string; arrived?: boolean }
type Race = { id: string; what: string; run(world: World, attack: Attack): Promise<Verdict> }

type Attack = {
  /** What starts the attack in a sandbox, as a command of its shell. */
  command(kinds: string): string
  /** How many frames of it have arrived, and when the last did. */
  arrived(): Promise<{ count: number; last: number }>
}

export const RACES: readonly Race[] = [
  {
    id: 'B4-start',
    what: 'an entrypoint that attacks as its first instruction',
    async run({ product }, attack) {
      const made = await product.create(DENIED, {
        entrypoint: `${attack.command('evil,open,twin')} & exec sleep $NAP`,
      })
      await delay(1500)
      await product.remove(made.id)
      return nothing(attack, 'attacked from the first instruction on')
    },
  },
  {
    id: 'B4-start-five',
    what: 'five sandboxes that start at once and attack at once',
    async run({ product }, attack) {
      const command = `${attack.command('evil,open')} & exec sleep $NAP`
      const made = await Promise.all(
        Array.from({ length: 5 }, () => product.create(DENIED, { entrypoint: command })),
      )
      await Promise.all(made.map(({ id }) => product.remove(id)))
      return nothing(attack, '5 attacked')
    },
  },
  {
    id: 'R1-narrow-range',
    what: 'a range that is taken away while its connections and datagrams flow',
    run: (world, attack) => narrow(world, attack, { kinds: 'open', before: allowing(OPEN), after: DENIED }),
  },
  {
    id: 'R1-narrow-name',
    what: 'a name that is taken away in the middle of a connection',
    run: (world, attack) =>
      narrow(world, attack, {
        kinds: 'good,learn',
        before: allowing('good.example'),
        after: allowing('other.example'),
      }),
  },
  {
    id: 'R1-deny-name-in-allow',
    what: 'everything that is taken away while connections flow',
    run: (world, attack) =>
      narrow(world, attack, { kinds: 'open', before: { defaultAction: 'allow', egress: [] }, after: DENIED }),
  },
  {
    id: 'R3-policies',
    what: 'forty changes of the policy, none of which allows what is attacked',
    run: (world, attack) =>
      during(world, attack, allowing('good.example'), async ({ id }) => {
        for (let n = 0; n < 40; n++)
          await world.product.setPolicy(
            id,
            n % 2 === 0 ? allowing('other.example') : allowing('good.example'),
          )
        return '40 changes'
      }),
  },
  {
    id: 'B4-pause-resume',
    what: 'three pauses, each resumed',
    run: (world, attack) =>
      during(world, attack, allowing('good.example'), async ({ id }) => {
        for (let n = 0; n < 3; n++) {
          await world.product.call('POST', `/sandboxes/${id}/pause`)
          await stateOf(world.product, id, 'Paused')
          await world.product.call('POST', `/sandboxes/${id}/resume`)
          await stateOf(world.product, id, 'Running')
        }
        return '3 pauses'
      }),
  },
  ...Object.entries(REMOVALS).map(([id, { what, commands }]) => ({
    id,
    what,
    run: (world: World, attack: Attack) =>
      during(world, attack, allowing('good.example'), async ({ id: sandbox }) => {
        for (let n = 0; n < REPEATS; n++) {
          for (const command of commands(tableName(instanceOf(world.edge.dataDir).key)))
            await runHere(command)
          await repaired(world, sandbox)
        }
        return `${REPEATS} times, each repaired`
      }),
  })),
  {
    id: 'B7-terminate',
    what: 'egress told to stop',
    run: (world, attack) =>
      during(world, attack, allowing('good.example'), async () => {
        await endEgress(world, 'SIGTERM')
        return 'stopped and started again'
      }),
  },
  {
    id: 'B12-kill-20',
    what: 'egress killed at twenty moments',
    run: (world, attack) =>
      during(world, attack, allowing('good.example'), async ({ id }) => {
        for (let n = 0; n < KILLS; n++) {
          // In the middle of a change, of learning, and of nothing.
          const policy = allowing(`n${n}.example`, 'good.example')
          // Nobody answers for a change in whose middle egress is killed.
          const change =
            n % 2 === 0 ? world.product.setPolicy(id, policy).catch(() => undefined) : Promise.resolve()
          await delay(n * 7)
          await endEgress(world, 'SIGKILL')
          await change
        }
        return `${KILLS} kills`
      }),
  },
  {
    id: 'C2-hijack',
    what: 'a process of the sandbox at the ports where its egress API and execd are asked for',
    run: ({ product, edge }) => hijack(product, edge.url),
  },
  {
    id: 'R-reuse',
    what: 'the next sandbox at the address of one that could do more',
    async run({ product }, attack) {
      const first = await product.create(allowing(OPEN, 'good.example'), { entrypoint: 'exec sleep $NAP' })
      await product.run(first.id, 'curl -sS -m 5 http://good.example/')
      await product.remove(first.id)
      const command = `${attack.command('open,good,evil')} & exec sleep $NAP`
      const next = await Promise.all([0, 1, 2].map(() => product.create(DENIED, { entrypoint: command })))
      await delay(1000)
      await Promise.all(next.map(({ id }) => product.remove(id)))
      const isSame = next.some(({ address }) => address === first.address)
      return nothing(attack, `3 sandboxes, ${isSame ? 'one' : 'none'} of them at its address`)
    },
  },
  {
    id: 'R-reuse-connection',
    what: 'the next sandbox at an address, with packets that fit what the one before has open',
    run: goOnWithOthers,
  },
]

/** Each race in turn. */
export async function runRaces(world: World): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  for (const [index, { id, what, run }] of RACES.entries()) {
    const number = FIRST_NUMBER + index
    const program = readFileSync(join(import.meta.dirname, 'loop.py'), 'base64')
    const verdict = await run(world, {
      command: (kinds) =>
        `(echo ${program} | base64 -d > /tmp/loop.py; exec python3 /tmp/loop.py ${number} ${FIRST_PORT} ${TOKEN_PREFIX} ${kinds})`,
      arrived: async () => (await world.arrivals())[number] ?? { count: 0, last: 0 },
    }).catch((error: unknown): Verdict => ({ seen: '', wrong: `it failed: ${String(error)}` }))
    outcomes.push({ id, what, arrived: false, ...verdict })
  }
  return outcomes
}

async function nothing(attack: Attack, seen: string): Promise<Verdict> {
  const { count } = await attack.arrived()
  return count === 0 ? { seen } : { seen, arrived: true, wrong: `it arrived: ${count} frames` }
}

/** Whatever listens within on 18080, the token of the egress API goes to egress alone. */
async function hijack(product: World['product'], url: string): Promise<Verdict> {
  const thief =
    'import socket; s = socket.create_server((str(), 18080), reuse_port=True); c = s.accept()[0]; ' +
    'open(chr(47) + "tmp/stolen", "wb").write(c.recv(9999))'
  const made = await product.create(DENIED, { entrypoint: `python3 -c '${thief}' & exec sleep $NAP` })
  try {
    const asked = await product.call('GET', `/sandboxes/${made.id}/endpoints/18080`)
    const { endpoint, headers } = asked as { endpoint: string; headers: Record<string, string> }
    const answer = await fetch(`http://${endpoint}/policy`, { headers, signal: AbortSignal.timeout(10_000) })
    const proxied = await fetch(`${url}/sandboxes/${made.id}/proxy/18080/policy`, {
      headers,
      signal: AbortSignal.timeout(10_000),
    })
    const stolen = await product.run(made.id, 'cat /tmp/stolen 2>/dev/null; echo end')
    const seen = `answered ${answer.status} and ${proxied.status}`
    if (stolen.trim() !== 'end') return { seen, arrived: true, wrong: 'the process has heard the request' }
    return answer.ok && (await answer.text()).includes('deny_all')
      ? { seen }
      : { seen, wrong: 'egress did not answer' }
  } finally {
    await product.remove(made.id)
  }
}

/** Attacks what the policy does not open while something happens. */
async function during(
  { product }: World,
  attack: Attack,
  policy: NetworkPolicy,
  happens: (sandbox: AttackSandbox) => Promise<string>,
): Promise<Verdict> {
  const sandbox = await product.create(policy, {
    entrypoint: `${attack.command('evil,open,twin,learn')} & exec sleep $NAP`,
  })
  try {
    const seen = await happens(sandbox)
    return await nothing(attack, seen)
  } finally {
    await product.remove(sandbox.id)
  }
}

/** Attacks what the policy opens at first; after the answer to the change nothing more may arrive. */
async function narrow(
  { product }: World,
  attack: Attack,
  { kinds, before, after }: { kinds: string; before: NetworkPolicy; after: NetworkPolicy },
): Promise<Verdict> {
  const sandbox = await product.create(before, { entrypoint: `${attack.command(kinds)} & exec sleep $NAP` })
  try {
    const deadline = performance.now() + 10_000
    while ((await attack.arrived()).count < 10)
      if (performance.now() > deadline) return { seen: '', wrong: 'nothing arrived before the change' }
    await product.setPolicy(sandbox.id, after)
    const answeredAt = Date.now() / 1000
    await delay(700)
    const { count, last } = await attack.arrived()
    const lateMs = Math.round((last - answeredAt) * 1000)
    const seen = `${count} frames before the change was answered`
    return lateMs > SLACK_SECONDS * 1000
      ? { seen, arrived: true, wrong: `it arrived ${lateMs} ms later` }
      : { seen }
  } finally {
    await product.remove(sandbox.id)
  }
}
