import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { openDnsServer } from '../../../egress/dns/server.ts'
import { createSilentLogger } from '../../../lib/log.ts'

async function open(
  answer: (message: Buffer) => Promise<Buffer | undefined> = async (message) => Buffer.from(`<${message}>`),
  port = 0,
) {
  const controller = new AbortController()
  const server = await openDnsServer({
    address: '127.0.0.1',
    port,
    answer: (message) => answer(message),
    log: createSilentLogger(),
    signal: controller.signal,
  })
  onTestFinished(async () => {
    controller.abort()
    await server.closed
  })
  return server
}

const frame = (text: string) => {
  const buffer = Buffer.alloc(2 + text.length)
  buffer.writeUInt16BE(text.length)
  buffer.write(text, 2)
  return buffer
}

async function dial(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port })
  socket.on('error', () => socket.destroy())
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  return socket
}

test('answers by UDP', async () => {
  const { port } = await open()
  const socket = createSocket('udp4')
  onTestFinished(() => void socket.close())
  socket.send('hello', port, '127.0.0.1')
  const [message] = await once(socket, 'message')
  expect(String(message)).toBe('<hello>')
})

test('answers every question of a TCP connection, however it is cut', async () => {
  const { port } = await open()
  const socket = await dial(port)
  const bytes = Buffer.concat([frame('one'), frame('two'), frame('three')])
  for (const byte of bytes) socket.write(Buffer.from([byte]))
  let received = ''
  for await (const chunk of socket) {
    received += String(chunk)
    if (received.includes('<three>')) break
  }
  expect(received).toBe('\0\x05<one>\0\x05<two>\0\x07<three>')
})

test('a hundred questions at once by TCP are all answered', async () => {
  let running = 0
  let most = 0
  const { port } = await open(async (message) => {
    most = Math.max(most, ++running)
    await new Promise((resolve) => setImmediate(resolve))
    running--
    return message
  })
  const socket = await dial(port)
  socket.write(Buffer.concat(Array.from({ length: 100 }, (_, index) => frame(`q${index}`))))
  let size = 0
  const whole = Array.from({ length: 100 }, (_, index) => frame(`q${index}`).length).reduce((a, b) => a + b)
  for await (const chunk of socket) {
    size += chunk.length
    if (size >= whole) break
  }
  expect(size).toBe(whole)
  expect(most).toBeLessThanOrEqual(16)
})

test('a question that deserves no answer ends its TCP connection', async () => {
  const { port } = await open(async () => undefined)
  const socket = await dial(port)
  socket.write(frame('x'))
  await once(socket, 'close')
})

test('a bug in answering does not end the server', async () => {
  let count = 0
  const { port } = await open(async (message) => {
    if (count++ === 0) throw new Error('bug')
    return message
  })
  const first = await dial(port)
  first.write(frame('x'))
  await once(first, 'close')
  const second = await dial(port)
  second.write(frame('y'))
  const [data] = await once(second, 'data')
  expect(data).toEqual(frame('y'))
})

test('one source has so many TCP connections and no more', async () => {
  const { port } = await open()
  for (let count = 0; count < 32; count++) await dial(port)
  const over = await dial(port)
  over.resume()
  await once(over, 'close')
})

test('takes another port when a program has the wanted one on all addresses', async () => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen({ host: '0.0.0.0', port: 0 }, resolve))
  onTestFinished(() => void other.close())
  const address = other.address()
  const taken = typeof address === 'object' && address ? address.port : 0
  const { port } = await open(undefined, taken)
  expect(port).not.toBe(taken)
  expect(port).toBeGreaterThan(0)
})

test('an address that is not of this machine is an error that says so', async () => {
  await expect(
    openDnsServer({
      address: '198.51.100.77',
      port: 0,
      answer: async () => undefined,
      log: createSilentLogger(),
      signal: new AbortController().signal,
    }),
  ).rejects.toThrow('Cannot listen for DNS on 198.51.100.77 port 0')
})
