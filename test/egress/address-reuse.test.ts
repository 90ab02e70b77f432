// The next sandbox at an address that another one had: what was opened for the first, and what is still on its way for it, is nothing
// to the second. What DNS has in flight is in dns/narrowing.test.ts.

import { expect, test } from 'vitest'
import { Flows } from '../../egress/connections/flows.ts'
import { parseRange } from '../../egress/policy/addresses.ts'
import { chooseServer } from '../../egress/proxy/choose-server.ts'
import type { NetworkPolicy } from '../../lib/api/network-policy.ts'
import { createFakeKernel } from './fake-kernel.ts'

const ADDRESS = '198.51.100.1'
const place = { address: '10.88.0.5', interface: 'osbab12aa', token: 'a-token-that-is-long' }
const open: NetworkPolicy = { defaultAction: 'deny', egress: [{ action: 'allow', target: 'good.example' }] }
const closed: NetworkPolicy = { defaultAction: 'deny', egress: [] }

test('has none of its names and addresses, and none of its connections', async () => {
  const flows = new Flows({ perSandbox: 2, total: 8 })
  const { open: openSandboxes, scripts } = createFakeKernel({ flows })
  const sandboxes = openSandboxes()
  await sandboxes.register('first', { ...place, policy: open })
  const first = sandboxes.byAddress(place.address)
  if (!first) throw new Error('it was registered')
  await sandboxes.learn(first, 'good.example', [ADDRESS], 60)
  const ended: string[] = []
  const flow = {
    ...{
      address: ADDRESS,
      port: 443,
      isByAddress: false,
      names: new Set(['good.example']),
      aliases: new Set<string>(),
    },
    end: () => {
      ended.push('first')
      flows.remove('first', flow)
    },
  }
  flows.add('first', flow)
  await sandboxes.remove('first')
  await sandboxes.register('next', { ...place, policy: open })
  const next = sandboxes.byAddress(place.address)
  expect([next?.id, next?.learned.size, next?.learned.leads('good.example', ADDRESS)]).toEqual([
    'next',
    0,
    false,
  ])
  expect([ended, flows.total]).toEqual([['first'], 0])
  expect(scripts.at(-1)).not.toContain(ADDRESS)
  // Whoever still holds the first one opens nothing with it, neither for itself nor for the next.
  const before = scripts.length
  expect(await sandboxes.learn(first, 'good.example', [ADDRESS], 60)).toBe(false)
  expect([scripts.length, next?.learned.size]).toEqual([before, 0])
})

test('gets no connection that the first one has asked the proxy for', async () => {
  const sandboxes = createFakeKernel().open()
  await sandboxes.register('first', { ...place, policy: open })
  let asked = () => {}
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve
  })
  let answer = () => {}
  const held = new Promise<void>((resolve) => {
    answer = resolve
  })
  const choosing = chooseServer(
    {
      sandboxes,
      subnet: parseRange('10.88.0.0/16'),
      isOwn: () => false,
      readPorts: [],
      resolve: async () => {
        asked()
        await held
        return { rcode: 0, answers: [], addresses: [ADDRESS] }
      },
    },
    'first',
    { host: 'good.example', port: 443 },
  )
  await isAsked
  await sandboxes.remove('first')
  await sandboxes.register('next', { ...place, policy: closed })
  answer()
  expect(await choosing).toMatchObject({ kind: 'denied', problem: 'its sandbox is gone' })
})
