// Sandboxes with IPv6 that have come about, or gone on, otherwise than by a create: what their policy allows arrives, and nothing else.

import { setTimeout as delay } from 'node:timers/promises'
import type { NetworkPolicy } from '../../../lib/api/network-policy.ts'
import { type AttackCase, cases } from './cases/case.ts'
import { GOOD_6, OPEN_6 } from './cases/ipv6.ts'
import { stateOf } from './happenings.ts'
import type { Arrivals } from './internet.ts'
import type { Outcome } from './outcome.ts'
import { performCases } from './perform.ts'
import type { ProductClient } from './product.ts'

export type World6 = {
  product: ProductClient
  /** What its sandbox may do, and those that are made here. */
  policy: NetworkPolicy
  facts: Record<string, unknown>
  arrivals(): Promise<Arrivals>
}

type Moment = { id: string; what: string; make(world: World6): Promise<{ id: string }> }

/** Far from the numbers of the other cases, and room for each moment's own. */
const FIRST_NUMBER = 2000
const ROOM = 20
const POOL = 'six'
const WARM_MS = 30_000

const MOMENTS: readonly Moment[] = [
  {
    id: 'pause',
    what: 'after a pause',
    async make({ product, policy }) {
      const { id } = await product.create(policy)
      await product.call('POST', `/sandboxes/${id}/pause`)
      await stateOf(product, id, 'Paused')
      await product.call('POST', `/sandboxes/${id}/resume`)
      await stateOf(product, id, 'Running')
      return { id }
    },
  },
  {
    id: 'fork',
    what: 'from a fork',
    async make({ product, policy }) {
      const source = await product.create(policy)
      const made = await product.call('POST', `/sandboxes/${source.id}/fork`, {
        entrypoint: ['sleep', '86400'],
        timeout: 900,
      })
      const [fork] = made.items as { id: string }[]
      if (!fork) throw new Error('The fork has made nothing')
      await stateOf(product, fork.id, 'Running')
      return fork
    },
  },
  {
    id: 'pool',
    what: 'from a pool, whose own policy opens nothing',
    async make({ product, policy }) {
      await product.call('POST', '/pools', {
        name: POOL,
        template: {
          image: 'attack',
          entrypoint: ['sleep', '86400'],
          resourceLimits: { cpu: '1', memory: '512Mi' },
          networkPolicy: { defaultAction: 'deny', egress: [] },
        },
        capacitySpec: { bufferMin: 1, bufferMax: 1, poolMin: 0, poolMax: 1 },
      })
      await warm(product)
      const made = await product.call('POST', '/sandboxes', {
        extensions: { poolRef: POOL },
        timeout: 900,
        networkPolicy: policy,
      })
      return { id: String(made.id) }
    },
  },
]

/** Of each moment. */
const casesOf = ({ id, what }: Moment): AttackCase[] => [
  ...cases({ as: 'root', recorded: 'quiet', expect: 'allowed' }, [
    [`I6-${id}-address`, `an address that a rule opens, ${what}`, `udp('${OPEN_6}')`],
    [
      `I6-${id}-name`,
      `an allowed name, ${what}`,
      `[dns('good.example', 28), http('${GOOD_6}', get('good.example'))][-1]`,
    ],
  ]),
  ...cases({ as: 'root', recorded: 'connection' }, [
    [`I6-${id}-nobody`, `an address of nobody, ${what}`, 'tcp(evil6())'],
    [`I6-${id}-neighbour`, `another sandbox, ${what}`, "tcp(FACTS['neighbour6'])"],
  ]),
]

export const MOMENT_IDS = MOMENTS.flatMap(casesOf).map(({ id }) => id)

/** All of them at the same time. */
export async function runMoments6(world: World6): Promise<Outcome[]> {
  const outcomes = await Promise.all(
    MOMENTS.map(async (moment, at) =>
      performCases({
        ...world,
        attacker: await moment.make(world),
        cases: casesOf(moment),
        first: FIRST_NUMBER + at * ROOM,
      }),
    ),
  )
  return outcomes.flat()
}

async function warm(product: ProductClient): Promise<void> {
  const deadline = performance.now() + WARM_MS
  while (performance.now() < deadline) {
    const { status } = (await product.call('GET', `/pools/${POOL}`)) as { status: { available: number } }
    if (status.available > 0) return
    await delay(50)
  }
  throw new Error('The pool is not filled in time')
}
