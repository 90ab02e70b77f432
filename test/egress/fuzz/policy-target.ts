// Policies, and names to be decided on. Whatever comes, nothing throws; what is accepted is accepted again and can be compiled; and a
// policy that has no rule which allows, denies everything.

import { compilePolicy } from '../../../egress/policy/compile.ts'
import { decideAddress, decideName } from '../../../egress/policy/decide.ts'
import {
  checkNetworkPolicy,
  formatPolicyProblem,
  type NetworkPolicy,
} from '../../../lib/api/network-policy.ts'
import type { Random } from '../../gateway/strict/mutate.ts'
import { mutateBytes, pick } from './mutate.ts'
import type { FuzzTarget } from './target.ts'

const SEEDS = [
  '{"defaultAction":"deny","egress":[{"action":"allow","target":"good.example"}]}',
  '{"defaultAction":"allow","egress":[{"action":"deny","target":"*.example"},{"action":"allow","target":"10.0.0.0/8"}]}',
  '{"egress":[{"action":"deny","target":"::ffff:10.0.0.1"},{"action":"deny","target":"2001:db8::/32"}]}',
  '{"egress":[{"action":"allow","target":"bücher.example."},{"action":"allow","target":"xn--bcher-kva.example"}]}',
  '{"defaultAction":null,"egress":null}',
].map((text) => Buffer.from(text))
const WORDS = [
  ...[
    '"allow"',
    '"deny"',
    '"target"',
    '"action"',
    'null',
    '[]',
    '{}',
    '"*."',
    '*',
    '.',
    '..',
    '/33',
    '/0',
    '::',
  ],
  ...['1e999', '-0', '"\\u0000"', '٫', 'ß', 'İ', 'xn--', '%', '0x7f.1', '256', '__proto__', '"egress":', ','],
].map((text) => Buffer.from(text))
const NAMES = [
  'good.example',
  'a.good.example',
  'GOOD.EXAMPLE.',
  'goodexample',
  '',
  '.',
  'a..b',
  '*.example',
  'ß.de',
  '1.2.3.4',
]

export const policyTarget: FuzzTarget = {
  make: (random) => {
    const text = mutateBytes({ seeds: SEEDS, words: WORDS }, random).toString('utf8')
    return JSON.stringify([text, randomName(random)])
  },
  check: (made) => {
    const [text = '', name = ''] = JSON.parse(made) as string[]
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      return undefined // the API says so before anything of ours reads it
    }
    return checkPolicy(value, name)
  },
  corpus: [
    ...SEEDS.map((seed) => JSON.stringify([seed.toString('utf8'), 'good.example'])),
    JSON.stringify(['{"egress":[{"action":"allow","target":"*.1"}]}', '\u0000.good.example']),
    JSON.stringify(['{"egress":[{"action":"allow","target":"xn--a"}]}', 'xn--a']),
  ],
}

function randomName(random: Random): string {
  const seeds = NAMES.map((name) => Buffer.from(name))
  return random(2) === 0
    ? (pick(NAMES, random) ?? '')
    : mutateBytes({ seeds, words: WORDS }, random).toString('utf8')
}

function checkPolicy(value: unknown, name: string): string | undefined {
  const checked = checkNetworkPolicy(value)
  if (!('policy' in checked))
    return formatPolicyProblem(checked).length > 1000
      ? 'its problem takes more than 1000 characters'
      : undefined
  const { policy } = checked
  const again = checkNetworkPolicy(JSON.parse(JSON.stringify(policy)) as unknown)
  if (!('policy' in again))
    return `it is accepted, and refused when it is read again: ${formatPolicyProblem(again)}`
  const compiled = compilePolicy(policy)
  const byName = decideName(compiled, name)
  const byAddress = decideAddress(compiled, '198.51.100.1', { learned: false })
  return opensNothing(policy) && (byName.action === 'allow' || byAddress.action === 'allow')
    ? `it has no rule that allows, and ${JSON.stringify(name)} is allowed`
    : undefined
}

function opensNothing({ defaultAction, egress }: NetworkPolicy): boolean {
  return defaultAction !== 'allow' && egress.every(({ action }) => action !== 'allow')
}
