// Connections that the proxy has accepted, relayed to a server on loopback, which a rule must open.

import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import type { Accepted } from '../../../egress/connections/accepted.ts'
import { Flows } from '../../../egress/connections/flows.ts'
import { createRelayer } from '../../../egress/connections/relay.ts'
import { openQueuedBytes } from '../../../egress/queued-bytes.ts'
import { StallWatch } from '../../../egress/stall-watch.ts'
import { createSilentLogger } from '../../../lib/log.ts'
import { createFakeKernel } from '../fake-kernel.ts'
import { flood, lookUntil } from '../stalling.ts'

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

function greetAndEcho(socket: Socket): void {
  socket.write('hello ')
  socket.pipe(socket)
}

/** A client whose connection goes to a server, which greets it and echoes unless told otherwise. */
async function setup(
  to: Partial<Accepted['to']>,
  first = '',
  { serve = greetAndEcho, queuedBytesOf = openQueuedBytes() } = {},
) {
  const flows = new Flows({ perSandbox: 10, total: 10 })
  const { open, record } = createFakeKernel({ flows })
  const sandboxes = open()
  const registration = { address: '127.0.0.1', interface: 'osbab12aa', token: 'a-token-of-the-sandbox' }
  const rules = ['a.example', 'b.example', '127.0.0.1'].map((target) => ({
    action: 'allow' as const,
    target,
  }))
  await sandboxes.register('sb', { ...registration, policy: { defaultAction: 'deny', egress: rules } })
  const sandbox = sandboxes.get('sb')
  if (!sandbox) throw new Error('There is no sandbox')
  await sandboxes.learn(sandbox, 'a.example', ['127.0.0.1'], 60)
  await sandboxes.learn(sandbox, 'b.example', ['127.0.0.1'], 60, ['cdn.example', 'tracker.example'])
  const port = await listen(
    createServer((socket) => {
      socket.on('error', () => socket.destroy())
      serve(socket)
    }),
  )
  const stalls = new StallWatch({ queuedBytesOf })
  const log = createSilentLogger()
  const begin = createRelayer({ sandboxes: () => sandboxes, flows, record, stalls, log })
  const front = createServer({ allowHalfOpen: true }, (client) => {
    client.on('error', () => client.destroy())
    client.pause()
    begin({
      client,
      sandbox,
      to: { address: '127.0.0.1', port, via: 'http', ...to },
      first: Buffer.from(first),
    })
  })
  const client = connect(await listen(front), '127.0.0.1')
  onTestFinished(() => void client.destroy())
  let text = ''
  client.on('data', (chunk) => {
    text += chunk
  })
  client.on('error', () => {}) // a reset is an end too
  const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
  const until = (wanted: string) => expect.poll(() => text).toBe(wanted)
  const events = () => record.page('sb', { after: 0, limit: 9 }).events
  return { client, until, closed, events, sandboxes, stalls }
}

const REQUEST = (host: string) => `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`

test('where the address is open its server may speak first, and anything passes', async () => {
  const { client, until, closed, events } = await setup({ isOpen: true })
  await until('hello ')
  client.write('\x00\x01')
  await until('hello \x00\x01')
  client.end()
  await closed
  await expect
    .poll(events)
    .toMatchObject([{ kind: 'connection', verdict: 'allow', via: 'http', bytesSent: 2, bytesReceived: 8 }])
})

test('O12: what is said must be for the name that was asked for, and its bytes are counted', async () => {
  const { client, until, closed, events } = await setup({ name: 'a.example' }, REQUEST('a.example'))
  await until(`hello ${REQUEST('a.example')}`)
  client.end()
  await closed
  await expect
    .poll(events)
    .toMatchObject([
      { verdict: 'allow', name: 'a.example', bytesSent: 0, bytesReceived: 6 + REQUEST('a.example').length },
    ])
})

test('N3: another name, allowed too and at the same address, is refused in its place', async () => {
  const { closed, events } = await setup({ name: 'a.example' }, REQUEST('b.example'))
  await closed
  await expect
    .poll(events)
    .toMatchObject([
      { verdict: 'deny', reason: 'it names "b.example" and has asked the proxy for a.example' },
    ])
})

test('N9: what names nobody is refused where a name was asked for', async () => {
  const { closed, events } = await setup({ name: 'a.example' }, '\x00\x01')
  await closed
  await expect.poll(events).toMatchObject([{ verdict: 'deny', name: 'a.example' }])
})

test('R1: a connection that an address rule opened ends with the rule, also while a name leads there', async () => {
  const { until, closed, sandboxes } = await setup({ isOpen: true })
  await until('hello ')
  await sandboxes.changePolicy('sb', () => ({
    defaultAction: 'deny',
    egress: [{ action: 'allow', target: 'a.example' }],
  }))
  await closed
})

test.each([
  ['that was named on the wire', {}],
  ['whose address is open', { isOpen: true }],
])('R1: a connection by a name %s ends when what it was an alias for is denied', async (_, way) => {
  const to = { name: 'b.example', ...way }
  const { until, closed, client, sandboxes } = await setup(to, REQUEST('b.example'))
  const deny = (target: string) => ({ action: 'deny' as const, target })
  await until(`hello ${REQUEST('b.example')}`)
  // Nobody has denied what it goes by, nor allowed it.
  await sandboxes.changePolicy('sb', ({ egress, ...policy }) => ({
    ...policy,
    egress: [deny('other.example'), ...egress],
  }))
  client.write(REQUEST('b.example'))
  await until(`hello ${REQUEST('b.example').repeat(2)}`)
  await sandboxes.changePolicy('sb', ({ egress, ...policy }) => ({
    ...policy,
    egress: [deny('tracker.example'), ...egress],
  }))
  await closed
})

test.each<[who: string, serve: (socket: Socket) => void, act: (client: Socket) => void]>([
  ['its client', flood, (client) => void client.pause()],
  ['its server', (socket) => void socket.pause(), flood],
])('a connection ends when %s takes nothing of what waits for it for too long', async (who, serve, act) => {
  const { client, events, stalls } = await setup({ isOpen: true }, '', { serve })
  act(client)
  await lookUntil(stalls, () => events().length > 0)
  expect(events()).toMatchObject([
    {
      verdict: 'allow',
      reason: expect.stringMatching(`; ended, as ${who} took nothing of what waited for it`),
    },
  ])
})

test('a connection on which nobody owes anybody anything stays for as long as it likes', async () => {
  // The kernel may take its time to say that something was taken.
  const { client, until, stalls } = await setup({ isOpen: true }, '', { queuedBytesOf: () => 0 })
  await until('hello ')
  for (let looks = 1; looks < 10; looks++) stalls.look(looks * stalls.limitMs)
  client.write('again')
  await until('hello again')
})

test('a server that is gone without a word is found out within minutes', async () => {
  const { promise: accepted, resolve } = Promise.withResolvers<Socket>()
  await setup({ isOpen: true }, '', { serve: resolve })
  const { remotePort = 0 } = await accepted
  // Of a connection that is established, a timer of kind 2, and when it comes in hundredths of a second.
  const port = remotePort.toString(16).toUpperCase().padStart(4, '0')
  const found = new RegExp(`: \\w+:${port} \\w+:\\w+ 01 \\w+:\\w+ 02:(\\w+) `)
  const timer = () => found.exec(readFileSync('/proc/net/tcp', 'latin1'))?.[1]
  await expect.poll(timer).toBeDefined()
  expect(Number.parseInt(timer() ?? '', 16)).toBeLessThanOrEqual(6001)
})
