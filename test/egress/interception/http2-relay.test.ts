// One connection of a client that speaks HTTP/2, whose server is whatever the test opens.

import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectHttp2, createServer as createHttp2 } from 'node:http2'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { Http2Connection } from '../../../egress/http2/connection.ts'
import { relayHttp2 } from '../../../egress/interception/http2-relay.ts'
import { SecretFinder } from '../../../egress/interception/secret-finder.ts'
import { StallWatch } from '../../../egress/stall-watch.ts'

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

/** Opens clients of a relay, each of which is waited for so long. */
async function begin(requestMs: number): Promise<() => ClientHttp2Session> {
  const origin = createHttp2()
  origin.on('stream', (stream) => {
    stream.respond({ ':status': 200 })
    stream.write('begun')
  })
  const socket = connect(await listen(origin), '127.0.0.1')
  const upstream = new Http2Connection({ socket, idleMs: 60_000 })
  const port = await listen(
    createServer((client) =>
      relayHttp2({
        server: { scheme: 'http', host: 'a.example', port: 80 },
        vault: () => undefined,
        holdBody: () => undefined,
        onExchange: () => {},
        onFault: () => {},
        secrets: new SecretFinder(),
        stalls: new StallWatch({ queuedBytesOf: () => 0 }),
        open: () => upstream,
        client,
        requestMs,
      }),
    ),
  )
  onTestFinished(() => upstream.destroy())
  return () => {
    const createConnection = () => connect(port, '127.0.0.1')
    const session = connectHttp2('http://a.example', { createConnection })
    onTestFinished(() => session.destroy())
    return session
  }
}

test('a client that asks for nothing is not waited for longer than it may take, and one with a quiet stream is', async () => {
  const open = await begin(50)
  const busy = open()
  const stream = busy.request({ ':path': '/' })
  expect(String((await once(stream, 'data'))[0])).toBe('begun')
  const idle = open()
  await once(idle, 'close')
  expect([busy.closed, busy.destroyed, stream.destroyed]).toEqual([false, false, false])
})
