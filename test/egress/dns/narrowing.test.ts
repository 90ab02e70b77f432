// What a policy becomes while a name server thinks is what counts when its answer has come. The server is a socket on loopback that
// answers when the test says so; the kernel keeps what it was told.

import { createSocket, type RemoteInfo } from 'node:dgram'
import dnsPacket, { type Answer } from 'dns-packet'
import { expect, onTestFinished, test } from 'vitest'
import { createAnswerer } from '../../../egress/dns/answer.ts'
import { createDnsMeter } from '../../../egress/dns/limits.ts'
import { createResolver } from '../../../egress/dns/resolve.ts'
import { Upstream } from '../../../egress/dns/upstream.ts'
import type { NetworkPolicy, NetworkRule } from '../../../lib/api/network-policy.ts'
import { createSilentLogger } from '../../../lib/log.ts'
import { createFakeKernel } from '../fake-kernel.ts'

const ADDRESS = '10.88.0.5'
const rules = (...egress: NetworkRule[]): NetworkPolicy => ({ defaultAction: 'deny', egress })
const allow = (...targets: string[]) =>
  rules(...targets.map((target) => ({ action: 'allow' as const, target })))
const limits = {
  queriesPerSecond: 100,
  burst: 500,
  namesPerZonePerMinute: 300,
  encodedNamesPerZonePerMinute: 30,
  textPerMinute: 10,
}

/** Answers with these records once it is let go on, and says when it was asked. */
async function slowServer(answers: Answer[]) {
  const socket = createSocket('udp4')
  onTestFinished(() => void socket.close())
  const asked = new Promise<{ message: Buffer; from: RemoteInfo }>((resolve) =>
    socket.once('message', (message, from) => resolve({ message, from })),
  )
  await new Promise<void>((resolve) => socket.bind({ address: '127.0.0.1', port: 0 }, resolve))
  const answer = async () => {
    const { message, from } = await asked
    const { id = 0, questions = [] } = dnsPacket.decode(message)
    socket.send(dnsPacket.encode({ type: 'response', id, questions, answers }), from.port, from.address)
  }
  return { server: { by: 'udp' as const, address: '127.0.0.1', port: socket.address().port }, asked, answer }
}

async function setup({ answers, policy }: { answers: Answer[]; policy: NetworkPolicy }) {
  const { server, asked, answer } = await slowServer(answers)
  const { open, record, state, scripts } = createFakeKernel()
  const sandboxes = open()
  const registration = { address: ADDRESS, interface: 'osbab12aa', token: 'a-token-that-is-long' }
  await sandboxes.register('sb', { ...registration, policy })
  const minute = { timeoutMs: 60_000, totalTimeoutMs: 60_000, hedgeMs: 60_000 }
  const resolve = createResolver({
    sandboxes,
    upstream: new Upstream({ servers: () => [server], ...minute }),
    meter: createDnsMeter(limits),
    record,
    log: createSilentLogger(),
    signal: new AbortController().signal,
  })
  const answerer = createAnswerer({ sandboxes, resolve })
  const message = dnsPacket.encode({ type: 'query', id: 3, questions: [{ type: 'A', name: 'a.example' }] })
  const reply = answerer(message, ADDRESS, 'udp').then(
    (reply) =>
      reply && {
        rcode: reply.readUInt16BE(2) & 15,
        answers: dnsPacket.decode(reply).answers?.map((each) => ('data' in each ? each.data : '')),
      },
  )
  await asked
  const learned = () => scripts.filter((script) => /add element inet \S+ learned-sb/.test(script))
  const kept = () => sandboxes.get('sb')?.learned
  return { sandboxes, answer, reply, state, learned, kept, registration, record }
}

const A: Answer = { type: 'A', name: 'a.example', ttl: 60, data: '198.51.100.1' }

test('R2: a name that is denied when its answer has come is denied, and nothing is opened', async () => {
  const { sandboxes, answer, reply, learned, kept } = await setup({
    answers: [A],
    policy: allow('a.example'),
  })
  await sandboxes.changePolicy('sb', () => allow('b.example'))
  await answer()
  expect(await reply).toEqual({ rcode: 3, answers: [] })
  expect([learned(), kept()?.size]).toEqual([[], 0])
})

test('R2: what an alias has opened is closed when the name is denied that it leads to', async () => {
  const answers: Answer[] = [
    { type: 'CNAME', name: 'a.example', ttl: 60, data: 'tracker.example' },
    { ...A, name: 'tracker.example' },
  ]
  const { sandboxes, answer, reply, kept } = await setup({ answers, policy: allow('a.example') })
  await answer()
  expect(await reply).toMatchObject({ rcode: 0 })
  expect(kept()?.leads('a.example', A.data)).toBe(true)
  await sandboxes.changePolicy('sb', () => allow('a.example', 'b.example'))
  expect(kept()?.leads('a.example', A.data)).toBe(true)
  await sandboxes.changePolicy('sb', () =>
    rules({ action: 'deny', target: 'tracker.example' }, { action: 'allow', target: 'a.example' }),
  )
  expect([kept()?.size, kept()?.leads('a.example', A.data)]).toEqual([0, false])
})

test('R2: an address that a rule no longer opens when the answer has come is taken out of it', async () => {
  const answers: Answer[] = [A, { ...A, data: '10.1.2.3' }]
  const policy = allow('a.example', '10.1.2.0/24')
  const { sandboxes, answer, reply, kept } = await setup({ answers, policy })
  await sandboxes.changePolicy('sb', () => allow('a.example'))
  await answer()
  expect(await reply).toEqual({ rcode: 0, answers: ['198.51.100.1'] })
  expect([kept()?.has('198.51.100.1'), kept()?.has('10.1.2.3')]).toEqual([true, false])
})

test('R2: an alias that is denied when the answer has come is denied, and nothing is opened', async () => {
  const answers: Answer[] = [
    { type: 'CNAME', name: 'a.example', ttl: 60, data: 'bad.example' },
    { ...A, name: 'bad.example' },
  ]
  const { sandboxes, answer, reply, learned } = await setup({ answers, policy: allow('a.example') })
  await sandboxes.changePolicy('sb', () =>
    rules({ action: 'deny', target: 'bad.example' }, { action: 'allow', target: 'a.example' }),
  )
  await answer()
  expect(await reply).toEqual({ rcode: 3, answers: [] })
  expect(learned()).toEqual([])
})

test('R2: a policy that comes while an address is being opened decides what is answered', async () => {
  const { sandboxes, answer, reply, state, kept, record } = await setup({
    answers: [A],
    policy: allow('a.example'),
  })
  let changing: Promise<unknown> | undefined
  state.before = async () => {
    // The kernel is being told of the address: the change goes behind it, and is done before the answer is sent.
    changing ??= sandboxes.changePolicy('sb', () => allow('b.example'))
  }
  await answer()
  expect(await reply).toEqual({ rcode: 3, answers: [] })
  await changing
  expect(kept()?.size).toBe(0)
  expect(record.page('sb', { after: 0, limit: 9 }).events).toMatchObject([
    { verdict: 'deny', name: 'a.example' },
  ])
})

test('R2: an answer to a sandbox that is gone reaches nobody, and opens nothing for the next one at its address', async () => {
  const policy = allow('a.example')
  const { sandboxes, answer, reply, learned, registration } = await setup({ answers: [A], policy })
  await sandboxes.remove('sb')
  await sandboxes.register('next', { ...registration, policy })
  await answer()
  expect(await reply).toBeUndefined()
  expect([learned(), sandboxes.get('next')?.learned.size]).toEqual([[], 0])
})
