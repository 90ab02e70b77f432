// Every request of the corpus against a gateway with a server behind it: what is refused is refused once, whatever way it is
// cut into segments, and nothing of the request that hides in it is seen behind.

import { createServer } from 'node:http'
import { describe, expect, onTestFinished, test } from 'vitest'
import { dial, exchange, startGateway, startRaw } from '../support.ts'
import { EVIL, REFUSED_REQUESTS, UNDERSTOOD_REQUESTS } from './corpus.ts'

test('no two cases have one name', () => {
  const names = [...REFUSED_REQUESTS, ...UNDERSTOOD_REQUESTS].map(({ name }) => name)
  expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([])
})

describe('is refused, and nothing of it is seen behind', () => {
  async function startRecorder() {
    const gateway = await startGateway()
    let seen = ''
    const upstream = await startRaw(({ socket }) =>
      socket.on('data', (chunk) => {
        seen += String(chunk)
      }),
    )
    for (const id of ['a', 'b']) gateway.routes.put(id, upstream.port)
    const takeSeen = () => {
      const taken = seen
      seen = ''
      return taken
    }
    return { gateway, takeSeen }
  }

  test('when it comes at once', async () => {
    const { gateway, takeSeen } = await startRecorder()
    const wrong: unknown[] = []
    for (const { name, bytes } of REFUSED_REQUESTS) {
      const text = await exchange(gateway.port, bytes)
      const answers = text.match(/HTTP\/1\.1 (\d+)/g) ?? []
      const isRefused = answers.length === 1 && /^HTTP\/1\.1 (4\d\d|505) /.test(text)
      const seen = takeSeen()
      if (!isRefused || !/Connection: close\r\n/.test(text) || seen !== '') wrong.push({ name, text, seen })
    }
    expect(wrong).toEqual([])
  })

  test('when the hidden request comes a moment later', async () => {
    const { gateway, takeSeen } = await startRecorder()
    const wrong: unknown[] = []
    // Those that end with the hidden one: their own part is sent first, and read, before it.
    for (const { name, bytes } of REFUSED_REQUESTS.filter((each) => each.bytes.endsWith(EVIL))) {
      const client = dial(gateway.port)
      client.socket.setNoDelay(true)
      client.send(bytes.slice(0, -EVIL.length))
      await new Promise((resolve) => setImmediate(resolve))
      client.send(EVIL)
      const text = await client.ended()
      const seen = takeSeen()
      const answers = text.match(/HTTP\/1\.1 (\d+)/g) ?? []
      if (answers.length !== 1 || !/^HTTP\/1\.1 (4\d\d|505) /.test(text) || seen.includes('smuggled'))
        wrong.push({ name, text, seen })
    }
    expect(wrong).toEqual([])
  })
})

describe('is understood in the one right way', () => {
  test.each(UNDERSTOOD_REQUESTS)('$name', async ({ bytes, seen }) => {
    const gateway = await startGateway()
    const requests: { line: string; body: string }[] = []
    const server = createServer((request, response) => {
      let body = ''
      request
        .setEncoding('latin1')
        .on('data', (chunk: string) => {
          body += chunk
        })
        .on('end', () => {
          requests.push({ line: `${request.method} ${request.url}`, body })
          response.end('ok')
        })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const address = server.address()
    gateway.routes.put('a', typeof address === 'object' && address ? address.port : 0)
    const text = await exchange(gateway.port, bytes)
    expect(text.match(/HTTP\/1\.1 \d+ \w+/g)).toEqual(seen.map(() => 'HTTP/1.1 200 OK'))
    expect(requests).toEqual(seen)
  })
})
