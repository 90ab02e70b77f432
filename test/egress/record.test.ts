import { expect, test } from 'vitest'
import { type Decided, DecisionRecord } from '../../egress/record.ts'

const name = (text: string, verdict: 'allow' | 'deny'): Decided => ({
  kind: 'name',
  verdict,
  reason: 'rule 0',
  name: text,
})
const limits = { perSandbox: 4, wantedPerSandbox: 3, sandboxes: 2 }

test('pages go on where the last one ended, and say what is lost', () => {
  const record = new DecisionRecord({ limits, now: () => 0 })
  for (let count = 1; count <= 3; count++) record.add('a', name(`n${count}.example`, 'allow'))
  const first = record.page('a', { after: 0, limit: 2 })
  expect(first.events[0]).toEqual({
    sandboxId: 'a',
    sequence: 1,
    at: '1970-01-01T00:00:00.000Z',
    kind: 'name',
    verdict: 'allow',
    reason: 'rule 0',
    name: 'n1.example',
  })
  expect([first.next, first.lost]).toEqual([2, 0])
  expect(record.page('a', { after: first.next, limit: 2 }).events.map(({ sequence }) => sequence)).toEqual([
    3,
  ])
  for (let count = 4; count <= 20; count++) record.add('a', name('more.example', 'deny'))
  const late = record.page('a', { after: 3, limit: 10 })
  expect(late.events.map(({ sequence }) => sequence)).toEqual([17, 18, 19, 20])
  expect(late.lost).toBe(13)
  expect(record.page('a', { after: 20, limit: 10 })).toEqual({ events: [], next: 20, lost: 0 })
})

test('a proposal has what was reached, and what was denied only when asked for', () => {
  const record = new DecisionRecord({ limits })
  record.add('a', name('z.example', 'allow'))
  record.add('a', name('b.example', 'deny'))
  record.add('a', {
    kind: 'connection',
    verdict: 'deny',
    reason: 'closed',
    address: '198.51.100.1',
    protocol: 'udp',
    port: 53,
  })
  record.add('a', name('beyond.example', 'allow'))
  const targets = (includeDenied: boolean) =>
    record.propose('a', { includeDenied }).egress.map(({ target }) => target)
  expect(targets(false)).toEqual(['z.example'])
  expect(targets(true)).toEqual(['198.51.100.1', 'b.example', 'z.example'])
})

test('nothing is left of a sandbox that is gone, nor of more sandboxes than there is room for', () => {
  const record = new DecisionRecord({ limits })
  for (const id of ['a', 'b', 'c']) record.add(id, name('a.example', 'allow'))
  const sizes = () => ['a', 'b', 'c'].map((id) => record.page(id, { after: 0, limit: 9 }).events.length)
  expect(sizes()).toEqual([0, 1, 1])
  record.remove('c')
  expect(sizes()).toEqual([0, 1, 0])
})

test('an event says whose it is', () => {
  const record = new DecisionRecord({ tenantOf: (id) => (id === 'a' ? 'acme' : undefined) })
  for (const id of ['a', 'b']) record.add(id, name('a.example', 'allow'))
  expect(record.page('a', { after: 0, limit: 1 }).events).toMatchObject([{ sandboxId: 'a', tenant: 'acme' }])
  expect(record.page('b', { after: 0, limit: 1 }).events[0]).not.toHaveProperty('tenant')
})

test('all sandboxes together keep so much, and it is the loudest that loses some', () => {
  const record = new DecisionRecord({ limits: { perSandbox: 100, sandboxes: 10, total: 20 } })
  for (let count = 0; count < 3; count++) record.add('quiet', name('q.example', 'allow'))
  for (let count = 0; count < 90; count++) record.add('loud', name('l.example', 'deny'))
  const page = (id: string) => record.page(id, { after: 0, limit: 100 })
  expect(page('quiet').events).toHaveLength(3)
  expect(page('loud').events.length).toBeLessThanOrEqual(17)
  expect(page('loud').lost + page('loud').events.length).toBe(90)
})

test('who waits for a change is woken by what is added, by the end of the sandbox, and by its own end', async () => {
  const record = new DecisionRecord()
  const never = new AbortController().signal
  const added = record.changed('a', never)
  record.add('b', name('b.example', 'allow'))
  record.add('a', name('a.example', 'allow'))
  await added
  const removed = record.changed('a', never)
  record.remove('a')
  await removed
  const controller = new AbortController()
  const aborted = record.changed('a', controller.signal)
  controller.abort()
  await aborted
  await record.changed('a', AbortSignal.abort())
  expect(record.newest('a')).toBe(0)
})

test('a proposal has the ports that were seen, when it is asked for them', () => {
  const record = new DecisionRecord()
  const connect = (target: object, protocol: string, port?: number) =>
    record.add('a', {
      kind: 'connection',
      verdict: 'allow',
      reason: 'x',
      protocol,
      ...(port !== undefined && { port }),
      ...target,
    })
  record.add('a', name('asked.example', 'allow'))
  connect({ name: 'a.example', address: '198.51.100.1' }, 'tcp', 8443)
  connect({ name: 'a.example', address: '198.51.100.2' }, 'tcp', 443)
  connect({ address: '198.51.100.3' }, 'udp', 53)
  connect({ address: '198.51.100.3' }, 'icmp', 0)
  for (let port = 1; port < 50; port++) connect({ address: '198.51.100.4' }, 'tcp', port)
  expect(record.propose('a', { includeDenied: false, withPorts: true })).toEqual({
    defaultAction: 'deny',
    egress: [
      { action: 'allow', target: '198.51.100.3', protocol: 'udp', ports: ['53'] },
      { action: 'allow', target: '198.51.100.3', protocol: 'icmp' },
      { action: 'allow', target: '198.51.100.4', protocol: 'tcp' },
      { action: 'allow', target: 'a.example', protocol: 'tcp', ports: ['443', '8443'] },
      { action: 'allow', target: 'asked.example' },
    ],
  })
})
