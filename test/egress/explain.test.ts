import { expect, test } from 'vitest'
import { explain, explainPacket } from '../../egress/explain.ts'
import { Learned } from '../../egress/learned.ts'
import { compilePolicy } from '../../egress/policy/compile.ts'
import type { Sandbox } from '../../egress/sandbox-table.ts'

const policy = compilePolicy({
  defaultAction: 'deny',
  egress: [
    { action: 'allow', target: '2001:db8::/32', protocol: 'icmp' },
    { action: 'allow', target: '198.51.100.7' },
    { action: 'allow', target: 'fd00::/8' },
  ],
})
const learned = new Learned()
learned.note('a.example', ['2001:db8:7::1'], 60, 0)
const sandbox: Sandbox = {
  id: 'sb-1',
  address: '10.88.0.5',
  address6: 'fd00:1::a58:5',
  interface: 'osbaa',
  token: 't',
  isDefault: false,
  policy,
  coming: undefined,
  learned,
}
const { address6: _, ...without } = sandbox
const decide = () => ({ action: 'deny' as const, reason: 'not asked' })
const ask = (target: string, protocol?: string, port = 0, of: Sandbox = sandbox) =>
  explain({ decide }, of, { target, ...(protocol !== undefined && { endpoint: { protocol, port } }) })

test.each([
  ['2001:db8::1', 'icmp', 'allow', 'an allow rule covers the address (icmp)'],
  ['2001:db8::1', 'tcp', 'deny', 'no rule covers the address: default action'],
  ['2001:DB8:7:0::1', 'tcp', 'allow', 'the address of an allowed name'],
  ['2001:db8:7::1', 'udp', 'deny', 'no rule covers the address: default action'],
  ['64:ff9b::198.51.100.7', 'tcp', 'allow', 'an allow rule covers the address (NAT64 198.51.100.7)'],
  [
    '64:ff9b::a9fe:a9fe',
    'tcp',
    'deny',
    'the address is closed (NAT64 169.254.169.254: link-local) and no rule opens it',
  ],
  ['2002:c633:6408::1', 'tcp', 'deny', 'no rule covers the address: default action (6to4 198.51.100.8)'],
  ['::ffff:198.51.100.7', 'tcp', 'deny', 'the address is closed (mapped 198.51.100.7) and no rule opens it'],
  ['fe80::1%eth0', 'tcp', 'deny', 'the address is closed (link-local) and no rule opens it'],
])('N2: why %s by %s is a matter of %s: %s', (target, protocol, action, reason) => {
  expect(ask(target, protocol, 443)).toMatchObject({ kind: 'address', action, reason })
})

test('N2: a sandbox without IPv6 reaches none of it, whatever its rules say', () => {
  expect(ask('2001:db8::1', 'icmp', 0, without)).toMatchObject({
    action: 'deny',
    reason: 'sandboxes have no IPv6',
  })
})

test('N2: a refused packet that the policy would let pass is refused for what it is', () => {
  const packet = { set: 'refused' as const, interface: 'osbaa', protocol: 'tcp', port: 443 }
  expect(explainPacket(sandbox, { ...packet, address: '2001:db8::1' })).toBe(
    'no rule covers the address: default action',
  )
  expect(explainPacket(sandbox, { ...packet, address: 'fd00:1::a58:6' })).toMatch(
    /closed whatever the policy/,
  )
  expect(explainPacket(sandbox, { ...packet, address: '198.51.100.7' })).toMatch(
    /a connection that is not its own/,
  )
  // Where a name must be said, its being open by default is no reason.
  const named = {
    ...sandbox,
    policy: {
      ...sandbox.policy,
      deniesNames: true,
      layers: [],
      policy: { ...sandbox.policy.policy, defaultAction: 'allow' as const },
    },
  }
  expect(explainPacket(named, { ...packet, address: '198.51.100.7' })).toBeUndefined()
  // Where there is none, no policy opens any of it.
  expect(explainPacket(sandbox, { ...packet, set: 'frames', address: '2001:db8::7' })).toMatch(
    /^sandboxes have no IPv6/,
  )
})
