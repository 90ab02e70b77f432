// The name servers are real sockets on loopback.

import { createSocket } from 'node:dgram'
import { createServer, type Server } from 'node:net'
import dnsPacket, { type Packet } from 'dns-packet'
import { expect, onTestFinished, test } from 'vitest'
import { Upstream } from '../../../egress/dns/upstream.ts'
import type { NameServer } from '../../../lib/name-server.ts'

type Respond = (query: Packet) => Partial<Packet> | undefined
const asking = { whose: 'sb', signal: new AbortController().signal }

async function nameServer(respond: Respond): Promise<NameServer & { by: 'udp'; asked: string[] }> {
  const socket = createSocket('udp4')
  const asked: string[] = []
  socket.on('message', (message, from) => {
    const query = dnsPacket.decode(message)
    asked.push(`${query.questions?.[0]?.type} ${query.questions?.[0]?.name}`)
    const reply = respond(query)
    if (reply) socket.send(encode(query, reply), from.port, from.address)
  })
  await new Promise<void>((resolve) => socket.bind({ address: '127.0.0.1', port: 0 }, resolve))
  onTestFinished(() => void socket.close())
  return { by: 'udp', address: '127.0.0.1', port: socket.address().port, asked }
}

function encode(query: Packet, reply: Partial<Packet>): Buffer {
  return dnsPacket.encode({ type: 'response', id: query.id ?? 0, questions: query.questions ?? [], ...reply })
}

/** Lets a server listen by TCP on the port that a name server has by UDP, which something else may have by TCP. */
async function withFreePort(tcp: Server, open: () => ReturnType<typeof nameServer>) {
  for (let attempt = 1; ; attempt++) {
    const server = await open()
    try {
      await new Promise<void>((resolve, reject) => {
        tcp.once('error', reject).listen({ host: '127.0.0.1', port: server.port }, resolve)
      })
      return server
    } catch (error) {
      if (attempt === 10) throw error
    }
  }
}

const address = (query: Packet, data: string, ttl = 60): Partial<Packet> => ({
  answers: [{ type: 'A', name: query.questions?.[0]?.name ?? '', ttl, data }],
})

test('asks once for the same question, also when asked at once, until the answer has aged', async () => {
  const server = await nameServer((query) => address(query, '198.51.100.1', 30))
  let now = 1_000_000
  const upstream = new Upstream({ servers: () => [server], now: () => now })
  const ask = () => upstream.ask({ name: 'a.example', type: 'A' }, asking)
  const [first, second] = await Promise.all([ask(), ask()])
  expect(first).toEqual(second)
  now += 10_000
  expect((await ask()).answers).toMatchObject([{ ttl: 20, data: '198.51.100.1' }])
  expect(server.asked).toHaveLength(1)
  now += 20_000
  await ask()
  expect(server.asked).toHaveLength(2)
})

test('remembers that a name does not exist, for a short time', async () => {
  const server = await nameServer(() => ({ flags: 3 }))
  let now = 0
  const upstream = new Upstream({ servers: () => [server], now: () => now })
  const ask = () => upstream.ask({ name: 'none.example', type: 'A' }, asking)
  expect(await ask()).toMatchObject({ rcode: 3, answers: [] })
  await ask()
  expect(server.asked).toHaveLength(1)
  now = 5001
  await ask()
  expect(server.asked).toHaveLength(2)
})

test('goes on to the next server after one that is silent, and after one that fails', async () => {
  const silent = await nameServer(() => undefined)
  const failing = await nameServer(() => ({ flags: 2 }))
  const good = await nameServer((query) => address(query, '198.51.100.1'))
  const upstream = new Upstream({ servers: () => [silent, failing, good], timeoutMs: 100 })
  const answer = await upstream.ask({ name: 'a.example', type: 'A' }, asking)
  expect(answer.answers).toMatchObject([{ data: '198.51.100.1' }])
})

test('says what each server did when none answered', async () => {
  const silent = await nameServer(() => undefined)
  const failing = await nameServer(() => ({ flags: 5 }))
  const upstream = new Upstream({ servers: () => [silent, failing], timeoutMs: 100 })
  await expect(upstream.ask({ name: 'a.example', type: 'A' }, asking)).rejects.toThrow(
    /did not answer in time; .*answered with code 5/,
  )
  await expect(
    new Upstream({ servers: () => [] }).ask({ name: 'a.example', type: 'A' }, asking),
  ).rejects.toThrow('no name server is configured')
})

test('does not believe an answer with another id, or to another question', async () => {
  const server = await nameServer((query) => ({ ...address(query, '203.0.113.6'), id: (query.id ?? 0) ^ 1 }))
  const other = await nameServer((query) => ({
    ...address(query, '203.0.113.6'),
    questions: [{ type: 'A', name: 'other.example' }],
  }))
  const upstream = new Upstream({ servers: () => [server, other], timeoutMs: 100 })
  await expect(upstream.ask({ name: 'a.example', type: 'A' }, asking)).rejects.toThrow(
    'did not answer in time',
  )
})

test('O2: asks again by TCP when the answer did not fit', async () => {
  const tcp = createServer((socket) => {
    socket.once('data', (data) => {
      const query = dnsPacket.decode(data.subarray(2))
      const reply = encode(query, address(query, '198.51.100.9'))
      const length = Buffer.alloc(2)
      length.writeUInt16BE(reply.length)
      // In pieces, as a network may deliver it.
      socket.write(length)
      socket.write(reply.subarray(0, 5), () => socket.end(reply.subarray(5)))
    })
  })
  onTestFinished(() => void tcp.close())
  const server = await withFreePort(tcp, () => nameServer(() => ({ flags: 0x200 })))
  const upstream = new Upstream({ servers: () => [server] })
  const answer = await upstream.ask({ name: 'a.example', type: 'A' }, asking)
  expect(answer.answers).toMatchObject([{ data: '198.51.100.9' }])
})

test('an abort ends a question that waits', async () => {
  const silent = await nameServer(() => undefined)
  const upstream = new Upstream({ servers: () => [silent] })
  const controller = new AbortController()
  const running = upstream.ask({ name: 'a.example', type: 'A' }, { whose: 'sb', signal: controller.signal })
  controller.abort()
  await expect(running).rejects.toThrow('did not answer in time')
})

test('the cache is bounded', async () => {
  const server = await nameServer((query) => address(query, '198.51.100.1'))
  const upstream = new Upstream({ servers: () => [server], cached: { each: 2, total: 2 } })
  for (const name of ['a.example', 'b.example', 'c.example', 'a.example'])
    await upstream.ask({ name, type: 'A' }, asking)
  expect(server.asked).toEqual(['A a.example', 'A b.example', 'A c.example', 'A a.example'])
})

test('answers that are kept: one sandbox that asks for many names loses its own', async () => {
  const server = await nameServer((query) => address(query, '198.51.100.1'))
  const upstream = new Upstream({ servers: () => [server], cached: { each: 2, total: 4 } })
  const ask = (whose: string, name: string) =>
    upstream.ask({ name, type: 'A' }, { whose, signal: asking.signal })
  await ask('quiet', 'q.example')
  for (let count = 0; count < 9; count++) await ask('loud', `n${count}.example`)
  expect(server.asked).toHaveLength(10)
  // Who asked first does not matter: what is known is known for all.
  for (const name of ['q.example', 'n8.example']) await ask('quiet', name)
  expect(server.asked).toHaveLength(10)
  await ask('loud', 'n0.example')
  expect(server.asked).toHaveLength(11)
})

test('questions under way: those of one sandbox wait for each other, and for nobody else', async () => {
  let answerSlowly = () => {}
  const held = new Promise<void>((resolve) => {
    answerSlowly = resolve
  })
  const socket = createSocket('udp4')
  onTestFinished(() => void socket.close())
  const asked: string[] = []
  socket.on('message', async (message, from) => {
    const query = dnsPacket.decode(message)
    const name = query.questions?.[0]?.name ?? ''
    asked.push(name)
    if (name.startsWith('slow')) await held
    socket.send(encode(query, address(query, '198.51.100.1')), from.port, from.address)
  })
  await new Promise<void>((resolve) => socket.bind({ address: '127.0.0.1', port: 0 }, resolve))
  const server = { by: 'udp' as const, address: '127.0.0.1', port: socket.address().port }
  const minute = { timeoutMs: 60_000, totalTimeoutMs: 60_000, hedgeMs: 60_000 }
  const upstream = new Upstream({ servers: () => [server], asking: { each: 2, total: 8 }, ...minute })
  const ask = (whose: string, name: string) =>
    upstream.ask({ name, type: 'A' }, { whose, signal: asking.signal })
  const loud = ['slow1.example', 'slow2.example', 'slow3.example', 'wanted.example'].map((name) =>
    ask('loud', name),
  )
  // The loud one has asked for it before, and waits.
  expect((await ask('quiet', 'wanted.example')).answers).toHaveLength(1)
  expect((await ask('quiet', 'q.example')).answers).toHaveLength(1)
  expect(asked.toSorted()).toEqual(['q.example', 'slow1.example', 'slow2.example', 'wanted.example'])
  answerSlowly()
  expect(await Promise.all(loud)).toHaveLength(4)
  // It was known by then.
  expect(asked).toHaveLength(5)
})

test('a question that waits for its turn for too long fails', async () => {
  const silent = await nameServer(() => undefined)
  const timing = { timeoutMs: 60_000, totalTimeoutMs: 30, hedgeMs: 60_000 }
  const upstream = new Upstream({ servers: () => [silent], asking: { each: 1, total: 8 }, ...timing })
  const ask = (name: string) => upstream.ask({ name, type: 'A' }, asking)
  expect(await Promise.allSettled([ask('a.example'), ask('b.example')])).toMatchObject([
    { status: 'rejected', reason: { message: expect.stringContaining('did not answer in time') } },
    { status: 'rejected' },
  ])
})

test('a name that nobody can find out about turns nobody away from a server that answers for others', async () => {
  const first = await nameServer((query) =>
    query.questions?.[0]?.name === 'stuck.example' ? undefined : address(query, '198.51.100.1'),
  )
  const second = await nameServer((query) => address(query, '198.51.100.2'))
  const timing = { timeoutMs: 60, totalTimeoutMs: 60_000, hedgeMs: 1000, now: () => 0 }
  const upstream = new Upstream({ servers: () => [first, second], ...timing })
  const ask = async (name: string) => (await upstream.ask({ name, type: 'A' }, asking)).answers[0]
  const stuck = ask('stuck.example')
  expect(await ask('a.example')).toMatchObject({ data: '198.51.100.1' })
  expect(await stuck).toMatchObject({ data: '198.51.100.2' })
  expect(await ask('b.example')).toMatchObject({ data: '198.51.100.1' })
})

test('O1: a slow server does not hold up its question: the next is asked meanwhile, and whoever is first is believed', async () => {
  let answerSlowly = () => {}
  const slow = createSocket('udp4')
  onTestFinished(() => void slow.close())
  slow.on('message', (message, from) => {
    answerSlowly = () => slow.send(encode(dnsPacket.decode(message), {}), from.port, from.address)
  })
  await new Promise<void>((resolve) => slow.bind({ address: '127.0.0.1', port: 0 }, resolve))
  const good = await nameServer((query) => address(query, '198.51.100.2'))
  const servers = [{ by: 'udp' as const, address: '127.0.0.1', port: slow.address().port }, good]
  const upstream = new Upstream({
    servers: () => servers,
    hedgeMs: 20,
    timeoutMs: 60_000,
    totalTimeoutMs: 60_000,
  })
  expect(await upstream.ask({ name: 'a.example', type: 'A' }, asking)).toMatchObject({
    answers: [{ data: '198.51.100.2' }],
  })
  answerSlowly()
})

test('a server that was silent is asked last for a while', async () => {
  const silent = await nameServer(() => undefined)
  const good = await nameServer((query) => address(query, '198.51.100.2'))
  let now = 0
  const upstream = new Upstream({
    servers: () => [silent, good],
    timeoutMs: 50,
    hedgeMs: 5000,
    now: () => now,
  })
  const ask = (name: string) => upstream.ask({ name, type: 'A' }, asking)
  await ask('a.example')
  await ask('b.example')
  expect([silent.asked.length, good.asked.length]).toEqual([1, 2])
  now = 5001
  await ask('c.example')
  expect([silent.asked.length, good.asked.length]).toEqual([2, 3])
})

test('a packet that is lost is sent again, also when there is one server alone', async () => {
  let isFirst = true
  const server = await nameServer((query) => {
    if (!isFirst) return address(query, '198.51.100.2')
    isFirst = false
    return undefined
  })
  const upstream = new Upstream({ servers: () => [server], hedgeMs: 20 })
  expect((await upstream.ask({ name: 'a.example', type: 'A' }, asking)).answers).toHaveLength(1)
})

test('how long a name does not exist is its zone to say, within bounds', async () => {
  const soa = (minimum: number) => ({
    flags: 3,
    authorities: [
      {
        type: 'SOA' as const,
        name: 'example',
        ttl: 3600,
        data: { mname: 'a', rname: 'b', serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
      },
    ],
  })
  const server = await nameServer((query) => soa(query.questions?.[0]?.name === 'short.example' ? 20 : 9000))
  let now = 0
  const upstream = new Upstream({ servers: () => [server], now: () => now })
  const ask = (name: string) => upstream.ask({ name, type: 'A' }, asking)
  expect(await ask('short.example')).toEqual({ rcode: 3, answers: [], negativeSeconds: 20 })
  await ask('long.example')
  now = 21_000
  await ask('long.example')
  expect(server.asked).toHaveLength(2)
  await ask('short.example')
  now = 61_000
  await ask('long.example')
  expect(server.asked).toHaveLength(4)
})
