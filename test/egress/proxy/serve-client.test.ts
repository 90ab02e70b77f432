// Clients with real sockets; what lies behind the proxy is an echo that says where it would have gone.

import { type AddressInfo, connect, createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { parseRange } from '../../../egress/policy/addresses.ts'
import { createProxy } from '../../../egress/proxy/serve-client.ts'
import type { NetworkPolicy } from '../../../lib/api/network-policy.ts'
import { createSilentLogger } from '../../../lib/log.ts'
import { createFakeKernel } from '../fake-kernel.ts'

const POLICY: NetworkPolicy = {
  defaultAction: 'deny',
  egress: [{ action: 'allow', target: 'good.example' }],
}

async function setup({ openingMs = 10_000, maxOpenings = 10 } = {}) {
  const { open, record } = createFakeKernel()
  const sandboxes = open()
  const registration = { address: '127.0.0.1', interface: 'osbab12aa', token: 'a-token-that-is-long' }
  await sandboxes.register('sb', { ...registration, policy: POLICY })
  const proxy = createProxy({
    sandboxes,
    subnet: parseRange('10.88.0.0/16'),
    isOwn: () => false,
    readPorts: [],
    resolve: async (sandbox, { name }) => {
      await sandboxes.learn(sandbox, name, ['198.51.100.1'], 60)
      return { rcode: 0, answers: [], addresses: ['198.51.100.1'] }
    },
    beginRelay: ({ client, to, first }) => {
      client.write(`[${to.via} ${to.name ?? ''} ${to.address} ${to.port}]`)
      if (first) client.write(first)
      client.pipe(client)
    },
    record,
    log: createSilentLogger(),
    openingMs,
    maxOpenings,
  })
  const server = createServer({ allowHalfOpen: true }, proxy)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const dial = ({ allowHalfOpen = false } = {}) => {
    const { port } = server.address() as AddressInfo
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen })
    onTestFinished(() => void socket.destroy())
    let text = ''
    const ended = new Promise<string>((resolve) => {
      socket.on('close', () => resolve(text))
      socket.on('error', () => {}) // a reset is an end too
    })
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
    })
    const until = (pattern: RegExp) => expect.poll(() => text).toMatch(pattern)
    return { socket, until, ended }
  }
  return { dial, record, sandboxes }
}

test('CONNECT leads to the server, with all that comes before and after', async () => {
  const { dial } = await setup()
  const { socket, until } = dial()
  socket.write('CONNECT good.exam')
  socket.write('ple:443 HTTP/1.1\r\n\r\nearly')
  await until(/^HTTP\/1\.1 200 .*\r\n\r\n\[http good\.example 198\.51\.100\.1 443\]early$/)
  socket.write('later')
  await until(/earlylater$/)
})

test('SOCKS 5 does, also when all of it comes at once', async () => {
  const { dial } = await setup()
  const { socket, until } = dial()
  socket.write(
    Buffer.concat([
      Buffer.from('050100', 'hex'),
      Buffer.from('050100030c', 'hex'),
      Buffer.from('good.example'),
      Buffer.from([1, 187]),
      Buffer.from('early'),
    ]),
  )
  await until(/\[socks5 good\.example 198\.51\.100\.1 443\]early$/)
})

test('a whole URL gets its answer from the server alone', async () => {
  const { dial } = await setup()
  const { socket, until } = dial()
  socket.write('GET http://good.example/x HTTP/1.1\r\nHost: good.example\r\n\r\n')
  await until(/^\[http good\.example 198\.51\.100\.1 80\]GET \/x HTTP\/1\.1\r\nHost: good\.example\r\n/)
})

test('what is denied is told why, and is in the record', async () => {
  const { dial, record } = await setup()
  const { socket, ended } = dial()
  socket.end('CONNECT bad.example:443 HTTP/1.1\r\n\r\n')
  expect(await ended).toMatch(
    /^HTTP\/1\.1 403 Forbidden\r\n[\s\S]*the name that it asks for is denied: no rule matches/,
  )
  const second = dial()
  second.socket.write(Buffer.from('0501000501000163c6640101bb', 'hex'))
  expect(Buffer.from(await second.ended, 'latin1').toString('hex')).toBe('050005020001000000000000')
  expect(record.page('sb', { after: 0, limit: 9 }).events).toMatchObject([
    { kind: 'connection', verdict: 'deny', via: 'http', name: 'bad.example', protocol: 'tcp', port: 443 },
    { kind: 'connection', verdict: 'deny', via: 'socks5', address: '99.198.100.1', port: 443 },
  ])
})

test('what is no name and no address is in the record as a reason alone', async () => {
  const { dial, record } = await setup()
  const { socket, ended } = dial()
  socket.end('CONNECT 0x7f.1:443 HTTP/1.1\r\n\r\n')
  expect(await ended).toMatch(/^HTTP\/1\.1 400 /)
  const [event] = record.page('sb', { after: 0, limit: 1 }).events
  expect(event?.reason).toContain('"0x7f.1"')
  expect(record.propose('sb', { includeDenied: true }).egress).toEqual([])
})

test.each([
  ['what is neither', '\x16\x03\x01'],
  ['SOCKS 4', '\x04\x01'],
])('%s is cut off', async (_, text) => {
  const { dial } = await setup()
  const { socket, ended } = dial()
  socket.write(Buffer.from(text, 'latin1'))
  expect(await ended).toBe('')
})

test('a client that says nothing is cut off, and one sandbox has so many of these', async () => {
  const { dial } = await setup({ openingMs: 300, maxOpenings: 2 })
  const silent = [dial(), dial()]
  await Promise.all(silent.map(({ socket }) => new Promise((resolve) => socket.once('connect', resolve))))
  const third = dial()
  third.socket.write('CONNECT good.example:443 HTTP/1.1\r\n\r\n')
  expect(await third.ended).toBe('')
  expect(await Promise.all(silent.map(({ ended }) => ended))).toEqual(['', ''])
  const fourth = dial()
  fourth.socket.write('CONNECT good.example:443 HTTP/1.1\r\n\r\n')
  await fourth.until(/200 Connection Established/)
})

test('who was refused and stays takes a place', async () => {
  const { dial } = await setup({ maxOpenings: 1 })
  const first = dial({ allowHalfOpen: true })
  first.socket.write('CONNECT bad.example:443 HTTP/1.1\r\n\r\n')
  await first.until(/403/)
  const second = dial()
  second.socket.write('CONNECT good.example:443 HTTP/1.1\r\n\r\n')
  expect(await second.ended).toBe('')
  first.socket.destroy()
  const dialAgain = async (): Promise<string> => {
    const again = dial()
    again.socket.write('CONNECT good.example:443 HTTP/1.1\r\n\r\n')
    return await Promise.race([
      again.ended,
      new Promise<string>((resolve) => again.socket.once('data', (chunk) => resolve(String(chunk)))),
    ])
  }
  await expect.poll(dialAgain).toMatch(/200 Connection Established/)
})

test('a source that is no sandbox is cut off', async () => {
  const { dial, sandboxes } = await setup()
  await sandboxes.remove('sb')
  const { socket, ended } = dial()
  socket.write('CONNECT good.example:443 HTTP/1.1\r\n\r\n')
  expect(await ended).toBe('')
})
