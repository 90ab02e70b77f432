// What egress writes to the kernel by itself, beside what nft makes of the same text. Needs root.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatFrames, formatFramesLess, formatFramesOf } from '../../egress/nft/frame-rules.ts'
import { formatPolicy } from '../../egress/nft/policy-rules.ts'
import {
  type BaseRules,
  formatAdd,
  formatLearn,
  formatRemove,
  formatTable,
  type SandboxRules,
} from '../../egress/nft/rules.ts'
import { compilePolicy } from '../../egress/policy/compile.ts'
import { checkNetworkPolicy } from '../../lib/api/network-policy.ts'
import { run } from '../egress/network-lab.ts'

const WRITE = join(import.meta.dirname, '../egress/fixtures/write-rules.ts')
const NODE = join(import.meta.dirname, '../../node_modules/node/bin/node')
const DENO = join(import.meta.dirname, '../../node_modules/.bin/deno')
const BY_NFT = `netlink-${process.pid}-n`
const BY_US = `netlink-${process.pid}-u`

const base: BaseRules = {
  table: 'opensandbox_test',
  interfacePrefix: 'osbtest',
  subnet: '10.88.0.0/16',
  gateway: '10.88.0.1',
  dnsPort: 53,
  relayPort: 3129,
  mark: 7,
  ipv6: { subnet: 'fd00:1::/64', gateway: 'fd00:1::a58:1', dnsPort: 54, relayPort: 3130 },
}

beforeAll(async () => {
  for (const namespace of [BY_NFT, BY_US]) await run('ip', 'netns', 'add', namespace)
})
afterAll(async () => {
  for (const namespace of [BY_NFT, BY_US]) await run('ip', 'netns', 'delete', namespace)
})

function sandbox(id: string, policy: unknown, more: Partial<SandboxRules> = {}): SandboxRules {
  const checked = checkNetworkPolicy(policy)
  if (!('policy' in checked)) throw new Error(checked.message)
  return {
    id,
    address: '10.88.0.10',
    address6: 'fd00:1::a58:a',
    interface: `osbtest${id}`,
    policy: compilePolicy(checked.policy),
    learned: [],
    ...more,
  }
}

async function inside(namespace: string, command: string[], input = ''): Promise<string> {
  const child = spawn('ip', ['netns', 'exec', namespace, ...command], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(input)
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}`)
  return output
}
const write = async (scripts: string[], by = [NODE]) =>
  JSON.parse(await inside(BY_US, [...by, WRITE], JSON.stringify(scripts))) as unknown[]
/** What is there, but for how long it will still be. */
const listed = async (namespace: string) =>
  (await inside(namespace, ['nft', 'list', 'ruleset'])).replaceAll(/ expires [\dhms]+/g, '')

const allow = (target: string, more: object = {}) => ({ action: 'allow', target, ...more })
const everything = sandbox(
  'one',
  {
    defaultAction: 'deny',
    egress: [
      allow('good.example'),
      allow('ports.example', { ports: [443, '8000-8100'] }),
      allow('198.51.100.0/24', { protocol: 'tcp', ports: [5432, '1-10'] }),
      allow('192.0.2.7', { protocol: 'icmp' }),
      allow('192.0.2.9'),
      allow('192.0.2.11'),
      allow('0.0.0.0/8', { protocol: 'udp', ports: [65_535] }),
      allow('255.255.255.255', { protocol: 'udp', ports: [1] }),
      allow('10.0.0.5', { ports: [99, 101] }),
      allow('2001:db8::/32', { protocol: 'tcp', ports: [22, 80] }),
      allow('2001:db8::7', { protocol: 'icmp' }),
      { action: 'deny', target: '10.1.2.0/24' },
      { action: 'deny', target: '10.1.4.9' },
      { action: 'deny', target: '2001:db8::9' },
    ],
  },
  {
    learned: [
      { address: '198.51.100.1', seconds: 100 },
      { address: '2001:db8:1::1', seconds: 100 },
    ],
  },
)
const open = sandbox(
  'one',
  { defaultAction: 'allow', egress: [{ action: 'deny', target: 'bad.example' }] },
  { readPorts: [8443, 8080, 8081] },
)
const steps: [what: string, script: string][] = [
  ['a sandbox', formatAdd(base, everything)],
  ['the same once more', formatAdd(base, everything)],
  [
    'learned addresses, one of them again',
    formatLearn(base, 'one', [
      { address: '198.51.100.1', seconds: 60, isThere: true },
      { address: '198.51.100.2', seconds: 60 },
      { address: '2001:db8:1::2', seconds: 60 },
    ]),
  ],
  ['another policy', formatPolicy(base, open)],
  [
    'another sandbox',
    formatAdd(base, { ...open, id: 'two', address: '10.88.0.11', interface: 'osbtesttwo' }),
  ],
  ['the first policy again', formatPolicy(base, everything)],
  ['a sandbox less', formatRemove(base, everything)],
  ['what comes in by an interface', formatFramesOf(base, 'lo')],
  ['the same once more', formatFramesOf(base, 'lo')],
  ['an interface less', formatFramesLess(base, 'lo')],
  ['one that was not there', formatFramesLess(base, 'eth7')],
]

test.each([
  ['Node', [NODE]],
  ['Deno', [DENO, 'run', '-A']],
])('nft lists the same rules, whoever has made them; by %s', async (_what, by) => {
  for (const namespace of [BY_NFT, BY_US])
    await inside(
      namespace,
      ['nft', '-f', '-'],
      `flush ruleset\n${formatTable(base, [])}${formatFrames(base, { ipv6: false })}`,
    )
  for (const [what, script] of steps) {
    await inside(BY_NFT, ['nft', '-f', '-'], script)
    // Deno takes longer to start than all of it takes, so it makes all steps at once, below.
    if (by[0] === NODE) {
      expect([what, await write([script])]).toEqual([what, [{ outcome: 'done' }]])
      expect([what, await listed(BY_US)]).toEqual([what, await listed(BY_NFT)])
    }
  }
  if (by[0] === NODE) return
  const outcomes = await write(
    steps.map(([, script]) => script),
    by,
  )
  expect(outcomes).toEqual(steps.map(() => ({ outcome: 'done' })))
  expect(await listed(BY_US)).toEqual(await listed(BY_NFT))
})

test('what the kernel refuses is said with the element that it is about, and leaves everything as it was', async () => {
  await inside(BY_US, ['nft', '-f', '-'], `flush ruleset\n${formatTable(base, [])}`)
  await write([formatAdd(base, everything)])
  const before = await listed(BY_US)
  const twice = formatRemove(base, { ...everything, interface: 'osbtestnone' })
  const full = Array.from({ length: 9000 }, (_, n) => ({
    address: `198.51.${n >> 8}.${n & 255}`,
    seconds: 60,
  }))
  const outcomes = await write([twice, formatLearn(base, 'one', full)])
  expect(outcomes).toEqual([
    {
      outcome: 'refused',
      reason: expect.stringMatching(/^ENOENT at "\\?"osbtestnone\\?" \. 10\.88\.0\.10" of/),
    },
    { outcome: 'refused', reason: expect.stringMatching(/^ENFILE at "198\.51\.\d+\.\d+ timeout 60s" of/) },
  ])
  expect(await listed(BY_US)).toBe(before)
})

test('what the kernel says to a change of which it takes nothing is not taken for what it says to the next', async () => {
  await inside(BY_US, ['nft', '-f', '-'], `flush ruleset\n${formatTable(base, [everything])}`)
  const learn = (id: string) => formatLearn(base, id, [{ address: '198.51.100.9', seconds: 60 }])
  const refused = Array.from({ length: 400 }, () => learn('gone')).join('')
  expect(await write([refused, learn('one')])).toEqual([
    { outcome: 'refused', reason: expect.stringContaining('ENOENT at') },
    { outcome: 'done' },
  ])
})
