// Root of a sandbox against egress, on each runtime: one test for each case of the table (npm run attack prints it). A case that is not
// blocked, or of which nothing was recorded, fails by its name. Needs root, for network namespaces.

import { beforeAll, describe, expect, test } from 'vitest'
import { CASES } from './cases/all.ts'
import { IPV6 } from './cases/ipv6.ts'
import { MOMENT_IDS } from './moments6.ts'
import type { Outcome } from './outcome.ts'
import { PACKAGE_CLIENTS } from './packages.ts'
import { RACES } from './races.ts'
import { ATTACKED, type Attacked, attack, whyNotAttacked } from './run.ts'
import { THEFTS } from './thefts.ts'
import { VAULT_IDS } from './vault-attacks.ts'

const IDS = [
  ...CASES.map(({ id }) => id),
  ...IPV6.map(({ id }) => id),
  ...MOMENT_IDS,
  ...Object.keys(PACKAGE_CLIENTS).map((name) => `W-${name}`),
  'C-control-injected',
  ...THEFTS.map(({ id }) => id),
  ...VAULT_IDS,
  ...RACES.map(({ id }) => id),
]
const BOTH_MS = 600_000

const tried = ATTACKED.filter((runtime) => whyNotAttacked(runtime) === undefined)
const outcomes = new Map<Attacked, ReadonlyMap<string, Outcome>>()

beforeAll(async () => {
  // One that fails leaves the other its time to clear up.
  const results = await Promise.allSettled(
    tried.map(async (runtime) => {
      const all = await attack(runtime)
      outcomes.set(runtime, new Map(all.map((each) => [each.id, each])))
    }),
  )
  for (const result of results) if (result.status === 'rejected') throw result.reason
}, BOTH_MS)

test('no two cases have one id, and there are more than the 120 that were asked for', () => {
  expect(IDS.filter((id, at) => IDS.indexOf(id) !== at)).toEqual([])
  expect(CASES.filter(({ expect: wanted }) => wanted === 'blocked').length).toBeGreaterThan(120)
})

for (const runtime of ATTACKED) {
  const reason = whyNotAttacked(runtime)
  describe.skipIf(reason !== undefined)(`on ${runtime}${reason ? `, not tried, as ${reason}` : ''}`, () => {
    test.each(IDS)('%s: is as it must be', (id) => {
      const outcome = outcomes.get(runtime)?.get(id)
      expect(outcome).toBeDefined()
      expect(outcome?.wrong, `${outcome?.what}: ${outcome?.seen}`).toBeUndefined()
    })
  })
}
