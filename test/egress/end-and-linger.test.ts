import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setInterval } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { endAndLinger, type LingerLimits } from '../../egress/end-and-linger.ts'

/** A client of a server that says this and ends; `gone` once the server has nothing of the connection any more. */
async function begin(
  text: string,
  limits: Partial<LingerLimits>,
): Promise<{ client: Socket; gone: Promise<void> }> {
  const { promise: gone, resolve } = Promise.withResolvers<void>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy())
    socket.once('close', () => resolve())
    socket.write(text)
    endAndLinger(socket, { unreadMs: 60_000, lingerMs: 60_000, silentMs: 60_000, ...limits })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  client.on('error', () => client.destroy())
  onTestFinished(() => {
    client.destroy()
    server.close()
  })
  return { client, gone }
}

/** Sends a little every few milliseconds until the connection is gone, or so many times. */
async function drip(client: Socket, count = Number.POSITIVE_INFINITY, what = 'x'): Promise<void> {
  let sent = 0
  for await (const _ of setInterval(5)) {
    if (client.destroyed || sent++ >= count) return
    client.write(what)
  }
}

/** Larger than what lies in the buffers of the kernel. */
const LARGE = 'x'.repeat(16 << 20)

test.each([
  ['goes on sending', { lingerMs: 100 }, drip],
  ['sends nothing', { silentMs: 30 }, () => {}],
])('a client that %s reads what was written, and is let go', async (_, limits, keepOn) => {
  const { client, gone } = await begin('answer', limits)
  const [text] = await once(client.setEncoding('utf8'), 'data')
  expect(text).toBe('answer')
  client.resume()
  await Promise.all([gone, keepOn(client)])
})

test.each([
  ['is silent', ''],
  ['goes on sending', 'x'],
])('a client that reads slowly and %s reads all of it', async (_, sent) => {
  const { client } = await begin(LARGE, { lingerMs: 30, silentMs: 30 })
  client.pause()
  await drip(client, 30, sent)
  let length = 0
  client.on('data', (chunk) => {
    length += chunk.length
  })
  client.resume()
  await once(client, 'end')
  expect(length).toBe(LARGE.length)
})

test('a client that reads nothing is not waited for longer than it may take', async () => {
  const { client, gone } = await begin(LARGE, { unreadMs: 100 })
  client.pause()
  await Promise.all([gone, drip(client)])
})
