import { expect, test } from 'vitest'
import { decideServer } from '../../../egress/connections/decide-server.ts'
import { createFakeKernel } from '../fake-kernel.ts'

const POLICY = {
  defaultAction: 'deny',
  egress: [
    { action: 'deny', target: '203.0.113.9' },
    { action: 'allow', target: '*.a.example' },
    { action: 'allow', target: 'inner.example' },
  ],
} as const

async function openSandbox() {
  const sandboxes = createFakeKernel().open()
  const registration = { address: '10.88.0.2', interface: 'osbab12aa', token: 'a-token-of-the-sandbox' }
  await sandboxes.register('sb', { ...registration, policy: { ...POLICY, egress: [...POLICY.egress] } })
  const sandbox = sandboxes.get('sb')
  if (!sandbox) throw new Error('There is no sandbox')
  await sandboxes.learn(sandbox, 'x.a.example', ['198.51.100.1', '203.0.113.9'], 60)
  await sandboxes.learn(sandbox, 'inner.example', ['10.0.0.1'], 60)
  return { sandboxes, sandbox }
}

test.each([
  ['an allowed name at its address', 'x.a.example', '198.51.100.1', undefined],
  ['the same name, written otherwise', 'X.A.Example.', '198.51.100.1', undefined],
  ['a name that no rule allows', 'b.example', '198.51.100.1', /is denied: no rule matches/],
  ['another allowed name', 'y.a.example', '198.51.100.1', /none that was answered/],
  ['an allowed name at an address that it has not', 'x.a.example', '198.51.100.2', /none that was answered/],
  ['an address that a rule denies', 'x.a.example', '203.0.113.9', /a deny rule covers/],
  ['a private address that no rule opens', 'inner.example', '10.0.0.1', /is closed/],
  ['what is no name', 'a..example', '198.51.100.1', /the name that it asks for/],
])('decideServer() of %s', async (_what, text, address, problem) => {
  const { sandboxes, sandbox } = await openSandbox()
  const decided = decideServer(sandboxes, sandbox, { text, address, port: 443 })
  if (problem === undefined) expect(decided.problem).toBeUndefined()
  else expect(decided.problem).toMatch(problem)
})

test('decideServer() tells the canonical name and what the policy says of it, refused ones too', async () => {
  const { sandboxes, sandbox } = await openSandbox()
  expect(
    decideServer(sandboxes, sandbox, { text: 'X.a.example', address: '198.51.100.2', port: 443 }),
  ).toMatchObject({
    name: 'x.a.example',
    decision: { action: 'allow', rule: '*.a.example' },
  })
  expect(
    decideServer(sandboxes, sandbox, { text: '..', address: '198.51.100.1', port: 443 }),
  ).not.toHaveProperty('name')
})
