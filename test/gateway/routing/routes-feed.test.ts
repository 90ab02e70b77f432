import { expect, onTestFinished, test } from 'vitest'
import { RoutesFeed, type RoutesFeedOptions } from '../../../gateway/routing/routes-feed.ts'
import type { Route, RouteState } from '../../../lib/api/routes-feed.ts'
import { createSilentLogger } from '../../../lib/log.ts'
import { waitUntil } from '../../support/wait-for.ts'
import { FakeControl } from '../fake-control.ts'

const route = (id: string, state: RouteState = 'running', generation = 1): Route => ({
  id,
  state,
  address: '10.0.0.2',
  generation,
})

async function start(
  options: Partial<RoutesFeedOptions> = {},
  prepare: (control: FakeControl) => void = () => {},
) {
  const control = new FakeControl()
  prepare(control)
  await control.start()
  const stop = new AbortController()
  const changes: string[] = []
  const waiters = new Set<() => void>()
  const feed = new RoutesFeed({
    socketPath: control.feedSocket,
    log: createSilentLogger(),
    firstPauseMs: 5,
    longestPauseMs: 20,
    ...options,
  })
  feed.onChange((id, changed) => {
    changes.push(`${id} ${changed?.state ?? 'gone'} ${changed?.generation ?? ''}`.trim())
    for (const wake of waiters) wake()
  })
  const running = feed.run(stop.signal)
  onTestFinished(async () => {
    stop.abort()
    await running
    await control[Symbol.asyncDispose]()
  })
  const change = async (text: string) => {
    while (!changes.includes(text)) await new Promise<void>((resolve) => waiters.add(resolve))
  }
  return { control, feed, changes, change, stop }
}

test('the table is complete when the feed says so, and follows it from then on', async () => {
  const { control, feed, change } = await start({}, (fake) => {
    fake.put(route('a'))
    fake.put(route('b', 'pending'))
  })
  await feed.ready
  expect(feed.get('a')).toEqual(route('a'))
  expect(feed.size).toBe(2)
  control.put(route('b', 'running', 2))
  await change('b running 2')
  control.delete('a')
  await change('a gone')
  expect(feed.get('a')).toBeUndefined()
})

test('it is served from while control is away, and taken up where it broke off', async () => {
  const { control, feed, change, changes } = await start({}, (fake) => fake.put(route('a')))
  await feed.ready
  control.put(route('b'))
  await change('b running 1')
  expect(feed.isCurrent).toBe(true)
  await control.stopFeed()
  await waitUntil(() => !feed.isCurrent)
  expect(feed.get('a')).toBeDefined()
  control.put(route('c'))
  control.delete('a')
  await control.startFeed()
  await change('a gone')
  expect(control.feedRequests.at(-1)).toEqual({ epoch: 'one', since: '2' })
  expect(changes).toEqual(['a running 1', 'b running 1', 'c running 1', 'a gone'])
  await waitUntil(() => feed.isCurrent)
})

test('a control of another life begins anew, and what it does not know is gone', async () => {
  const { control, feed, change, changes } = await start({}, (fake) => {
    fake.put(route('a'))
    fake.put(route('b'))
    fake.put(route('c'))
  })
  await feed.ready
  await control.stopFeed()
  control.epoch = 'two'
  control.routes.delete('a')
  control.routes.set('b', route('b', 'running', 2))
  changes.length = 0
  await control.startFeed()
  await change('b running 2')
  expect(changes).toEqual(['a gone', 'b running 2'])
  expect(feed.get('c')).toEqual(route('c'))
})

test.each([
  ['a link that was taken back', { shares: [] }],
  ['another token', { accessHash: 'b' }],
  ['a name of its own', { domains: [{ name: 'shop.example', port: 8000 }] }],
  ['that it wakes', { wakes: true as const }],
])('%s is told when it happened while control was away', async (_name, more) => {
  const before: Route = {
    ...route('a'),
    accessHash: 'a',
    shares: [{ id: 'x', port: 8000, hash: 'h', until: 1 }],
  }
  const { control, feed, change, changes } = await start({}, (fake) => {
    fake.put(before)
    fake.put(route('b'))
  })
  await feed.ready
  await control.stopFeed()
  control.epoch = 'two'
  control.routes.set('a', { ...before, ...more })
  changes.length = 0
  await control.startFeed()
  await change('a running 1')
  expect(changes).toEqual(['a running 1'])
  expect(feed.get('a')).toMatchObject(more)
})

test('a reset that never becomes complete changes nothing', async () => {
  const { control, feed, changes } = await start({}, (fake) => fake.put(route('a')))
  await feed.ready
  changes.length = 0
  control.send({ type: 'reset', epoch: 'two', version: 1 })
  control.send({ type: 'put', version: 1, route: route('z') })
  await control.stopFeed()
  await control.startFeed()
  await control.waitForReaders(2)
  expect(control.feedRequests[1]).toEqual({ epoch: 'one', since: '1' })
  expect(changes).toEqual([])
  expect(feed.get('a')).toBeDefined()
})

test('silence is taken for death', async () => {
  const { control, feed } = await start({ silenceMs: 100 })
  await feed.ready
  await control.waitForReaders(3)
})

test('pings keep it alive and move it on', async () => {
  const { control, feed } = await start({ silenceMs: 1000 })
  await feed.ready
  control.send({ type: 'ping', version: 0 })
  control.send('{"type":"news of a later version"}\n')
  control.put(route('a'))
  while (!feed.get('a')) await new Promise((resolve) => setImmediate(resolve))
  expect(control.feedRequests).toHaveLength(1)
})

test.each(['not JSON\n', `"${'x'.repeat(2 * 2 ** 20)}`])(
  'nonsense ends the connection and not the program',
  async (text) => {
    const { control, feed } = await start()
    await feed.ready
    control.send(text)
    await control.waitForReaders(2)
  },
)

test('an unseen id is asked for once, however many wait', async () => {
  const { control, feed } = await start()
  await feed.ready
  control.routes.set('a', route('a'))
  const found = await Promise.all([feed.find('a'), feed.find('a'), feed.find('a')])
  expect(found).toEqual([route('a'), route('a'), route('a')])
  expect(control.asks).toEqual(['a'])
  expect(feed.get('a')).toEqual(route('a'))
})

test('that an id does not exist is remembered for a moment', async () => {
  let now = 0
  const { control, feed } = await start({ now: () => now })
  await feed.ready
  expect(await feed.find('a')).toBe('unknown')
  expect(await feed.find('a')).toBe('unknown')
  expect(control.asks).toHaveLength(1)
  now = 1001
  expect(await feed.find('a')).toBe('unknown')
  expect(control.asks).toHaveLength(2)
})

test('a sandbox that is made meanwhile is no longer unknown', async () => {
  const { control, feed, change } = await start({ now: () => 0 })
  await feed.ready
  expect(await feed.find('a')).toBe('unknown')
  control.put(route('a'))
  await change('a running 1')
  expect(await feed.find('a')).toEqual(route('a'))
})

test('an answer that the feed has overtaken does not bring back the dead', async () => {
  const { control, feed, change } = await start()
  await feed.ready
  control.onAsk = (_, response) => {
    // The answer was true when it was written; the feed brings the end before it arrives.
    response.writeHead(200)
    response.write(JSON.stringify(route('a')).slice(0, 10))
    control.put(route('a'))
    control.delete('a')
    void change('a gone').then(() => response.end(JSON.stringify(route('a')).slice(10)))
    return true
  }
  expect(await feed.find('a')).toBe('unknown')
  expect(feed.get('a')).toBeUndefined()
})

test('control that cannot be asked is told from an id that does not exist', async () => {
  const { control, feed } = await start({ askTimeoutMs: 200 })
  await feed.ready
  control.onAsk = (_, response) => {
    response.statusCode = 500
    response.end()
    return true
  }
  expect(await feed.find('a')).toBe('unreachable')
  control.onAsk = () => true
  expect(await feed.find('b')).toBe('unreachable')
  await control.stopFeed()
  expect(await feed.find('c')).toBe('unreachable')
})

test('asks are bounded', async () => {
  const { control, feed } = await start({ askTimeoutMs: 300 })
  await feed.ready
  control.onAsk = () => true
  const found = await Promise.all(Array.from({ length: 200 }, (_, at) => feed.find(`x${at}`)))
  expect(new Set(found)).toEqual(new Set(['unreachable']))
  expect(control.asks.length).toBeLessThanOrEqual(64)
})

test('names of their own lead to the sandboxes that have them, whatever changes', async () => {
  const named = (id: string, port: number, ...names: string[]): Route => ({
    ...route(id),
    domains: names.map((name) => ({ name, port })),
  })
  const { control, feed, change } = await start({}, (fake) =>
    fake.put(named('a', 80, 'one.example', 'two.example')),
  )
  await feed.ready
  const found = () => ['one.example', 'two.example'].map((name) => feed.findDomain(name))
  expect(found()).toEqual([
    { id: 'a', port: 80 },
    { id: 'a', port: 80 },
  ])
  control.put({ ...named('a', 81, 'two.example'), generation: 2 })
  await change('a running 2')
  expect(found()).toEqual([undefined, { id: 'a', port: 81 }])
  // Another one has the name before this one is known to be gone.
  control.put(named('b', 82, 'two.example'))
  await change('b running 1')
  control.delete('a')
  await change('a gone')
  expect(found()).toEqual([undefined, { id: 'b', port: 82 }])
  control.delete('b')
  await change('b gone')
  expect(found()).toEqual([undefined, undefined])
})
