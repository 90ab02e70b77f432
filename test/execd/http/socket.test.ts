// Sockets as execd opens them, listened on by Node.

import { once } from 'node:events'
import { closeSync, readFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { createSocketOpener, formatAddress } from '../../../execd/http/socket.ts'
import { openLibc } from '../../../execd/libc.ts'

const openSocket = createSocketOpener(openLibc())
const LOOPBACK = { host: '127.0.0.1', port: 0, isShared: false }

async function listen(fd: number | undefined): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => socket.end('hello'))
  onTestFinished(() => void server.close())
  server.listen({ fd })
  await once(server, 'listening')
  return { server, port: (server.address() as { port: number }).port }
}

test.each([
  ['0.0.0.0', 44772, '0200aee400000000'],
  ['127.0.0.1', 1, '020000017f000001'],
  ['255.255.255.255', 65535, '0200ffffffffffff'],
])('formatAddress(%s, %i)', (host, port, start) => {
  expect(formatAddress(host, port)?.toString('hex')).toBe(`${start}0000000000000000`)
})

test.each([
  '::',
  '::1',
  'localhost',
  '',
  '1.2.3',
  '1.2.3.256',
  '1.2.3.4.5',
  '1.2.3.-4',
  '1.2.3.4 ',
  '1.2.3.',
])('"%s" is no address of IPv4, and left to Node', (host) => {
  expect(formatAddress(host, 80)).toBeUndefined()
  expect(openSocket({ ...LOOPBACK, host })).toBeUndefined()
})

test('a server listens on it, at its address alone', async () => {
  const { server, port } = await listen(openSocket(LOOPBACK))
  expect(server.address()).toEqual({ address: '127.0.0.1', family: 'IPv4', port })
  const client = connect(port, '127.0.0.1')
  const [greeting] = (await once(client, 'data')) as [Buffer]
  expect(greeting.toString()).toBe('hello')
})

test('a port that is taken is an error as Node has it, and one that is shared is not', async () => {
  const { port } = await listen(openSocket(LOOPBACK))
  expect(() => openSocket({ ...LOOPBACK, port })).toThrow(
    expect.objectContaining({ code: 'EADDRINUSE', message: 'EADDRINUSE: bind' }),
  )
  expect(() => openSocket({ ...LOOPBACK, port, isShared: true })).toThrow('EADDRINUSE')
  const first = await listen(openSocket({ ...LOOPBACK, isShared: true }))
  const second = await listen(openSocket({ ...LOOPBACK, port: first.port, isShared: true }))
  expect(second.port).toBe(first.port)
})

test('an address that is not here is an error', () => {
  expect(() => openSocket({ ...LOOPBACK, host: '203.0.113.7' })).toThrow('EADDRNOTAVAIL')
})

test('nothing that is started inherits it', () => {
  const fd = openSocket(LOOPBACK)
  if (fd === undefined) throw new Error('There is no socket')
  onTestFinished(() => closeSync(fd))
  const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? ''
  expect(Number.parseInt(flags, 8) & 0o2000000).not.toBe(0)
})
