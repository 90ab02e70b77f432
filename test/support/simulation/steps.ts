// Steps of clients, of the machine and of bad luck, as data: which kind, what it is about and how much, so that a failing row of
// them can be repeated and made shorter.

import fc from 'fast-check'

const WEIGHTS = {
  create: 12,
  claim: 7,
  leave: 2,
  retry: 3,
  get: 5,
  list: 2,
  renew: 8,
  pause: 7,
  resume: 7,
  delete: 7,
  patch: 8,
  snapshot: 6,
  drop: 3,
  stranger: 2,
  key: 3,
  quota: 2,
  pool: 2,
  advance: 14,
  exit: 3,
  vanish: 2,
  damage: 1,
  turn: 2,
  breakWatch: 1,
  fault: 9,
  refuseEgress: 2,
  jump: 2,
  kill: 1,
  killInCall: 3,
  killAtCommit: 3,
  stop: 1,
  settle: 2,
} as const

export type Kind = keyof typeof WEIGHTS
export type Step = {
  kind: Kind
  /** Which sandbox, key or fault. */
  pick: number
  /** How much or how long. */
  amount: number
  /** Whether the answer is awaited before the next step. */
  waits: boolean
}

export const stepArbitrary: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    ...(Object.keys(WEIGHTS) as Kind[]).map((kind) => ({
      arbitrary: fc.constant(kind),
      weight: WEIGHTS[kind],
    })),
  ),
  pick: fc.nat(9999),
  amount: fc.nat(9999),
  waits: fc.boolean(),
})

const step = (kind: Kind, { pick = 0, amount = 0, waits = false } = {}): Step => ({
  kind,
  pick,
  amount,
  waits,
})

/** What went wrong once and is rarely met by chance: it is taken before the random rows. */
export const SCENES: Step[][] = [
  // A pause hangs, a deletion is answered meanwhile, and control is killed before either is done.
  [
    step('create', { amount: 3, waits: true }),
    step('fault', { pick: 4, amount: 1 }),
    step('pause'),
    step('delete', { waits: true }),
    step('kill'),
  ],
]
