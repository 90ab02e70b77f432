// Many streams at once: none of them is one of a few places, and nothing is looked up for any of them.

import { expect, test } from 'vitest'
import { FakeControl } from './fake-control.ts'
import { dial, exchange, head, startGateway, startRaw } from './support.ts'

const CLOSE = 'Connection: close'
const STREAMS = 150

/** A gateway with more streams open than a small pool would have, and a sandbox that answers all further requests. */
async function openStreams(controlSocket: string) {
  const gateway = await startGateway({ controlSocket })
  const upstream = await startRaw((peer) => {
    void peer.read('\r\n\r\n').then((text) => {
      if (text.startsWith('GET /stream'))
        peer.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n')
      else peer.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
  })
  let lookups = 0
  gateway.routes.onFind = async () => {
    lookups++
    return 'unknown'
  }
  gateway.routes.put('a', upstream.port)
  const clients = Array.from({ length: STREAMS }, () => dial(gateway.port).send(head('GET /stream')))
  await Promise.all(clients.map((client) => client.read('first')))
  return { gateway, upstream, clients, lookups: () => lookups }
}

test('P2: streams take no place of further requests, and go on beside them', async () => {
  await using control = await new FakeControl().start()
  const { gateway, upstream, clients } = await openStreams(control.controlSocket)
  expect(await exchange(gateway.port, head('GET /', CLOSE))).toMatch(/^HTTP\/1\.1 200 [\s\S]*ok$/)
  for (const { socket } of upstream.peers) socket.write('4\r\nlast\r\n0\r\n\r\n')
  for (const client of clients) expect(await client.read('last')).toContain('first')
})

test('P3: nobody is asked where a sandbox is that is known', async () => {
  await using control = await new FakeControl().start()
  const { lookups } = await openStreams(control.controlSocket)
  expect([lookups(), control.asks]).toEqual([0, []])
})

test('P6: streams of sandboxes take no place of the API', async () => {
  await using control = await new FakeControl().start()
  const { gateway } = await openStreams(control.controlSocket)
  expect((await fetch(`http://127.0.0.1:${gateway.port}/v1/sandboxes`)).status).toBe(200)
})
