import { createHash } from 'node:crypto'
import { createServer, request as httpRequest } from 'node:http'
import { describe, expect, onTestFinished, test } from 'vitest'
import { UpstreamPool } from '../../../gateway/relay/pool.ts'
import {
  dial,
  exchange,
  head,
  type RawServer,
  startAnswering,
  startGateway,
  startRaw,
  type TestGateway,
} from '../support.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

async function startPair(server: Promise<RawServer>): Promise<{ gateway: TestGateway; upstream: RawServer }> {
  const [gateway, upstream] = [await startGateway(), await server]
  gateway.routes.put('a', upstream.port)
  return { gateway, upstream }
}

describe('a request', () => {
  test('reaches the sandbox with its path as sent, and the answer comes back', async () => {
    const { gateway, upstream } = await startPair(startRaw())
    const client = dial(gateway.port).send(head('GET /a%2Fb/../c?d=%20+e&f', 'X-A: b'))
    const peer = await upstream.peer(0)
    expect(await peer.read('\r\n\r\n')).toBe(
      'GET /a%2Fb/../c?d=%20+e&f HTTP/1.1\r\nHost: a-8000.localhost\r\nX-A: b\r\n' +
        'X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a-8000.localhost\r\n\r\n',
    )
    peer.send('HTTP/1.1 201 Made\r\nX-B: c\r\nContent-Length: 5\r\n\r\nhello')
    expect(await client.read('hello')).toBe('HTTP/1.1 201 Made\r\nX-B: c\r\nContent-Length: 5\r\n\r\nhello')
  })

  test('that comes byte by byte is read all the same', async () => {
    const { gateway } = await startPair(startAnswering(OK))
    const client = dial(gateway.port)
    client.socket.setNoDelay(true)
    for (const byte of head('GET /')) {
      client.send(byte)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await client.read('ok')).toContain('200 OK')
  })

  test('after another on the same connection goes through the same connection behind', async () => {
    const { gateway, upstream } = await startPair(startAnswering(OK))
    const client = dial(gateway.port)
    for (let round = 0; round < 3; round++) {
      client.send(head('GET /'))
      await client.read('ok')
      client.take()
    }
    expect(upstream.peers).toHaveLength(1)
  })

  test('sent ahead with others is answered in order', async () => {
    const { gateway } = await startPair(
      startAnswering((text) => `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${/\/(\S\S)/.exec(text)?.[1]}`),
    )
    const client = dial(gateway.port)
    client.send(
      `${head('GET /r1')}${head('GET /r2')}GET /v1/x HTTP/1.1\r\nHost: evil.com\r\n\r\n${head('GET /r3')}`,
    )
    const text = await client.read('r3')
    expect([...text.matchAll(/r\d|HOST_NOT_ALLOWED/g)].map(([found]) => found)).toEqual([
      'r1',
      'r2',
      'HOST_NOT_ALLOWED',
      'r3',
    ])
  })

  test('with a body of either framing passes as it is, and the next one begins behind it', async () => {
    const { gateway, upstream } = await startPair(startRaw())
    const client = dial(gateway.port)
    client.send(
      `${head('POST /1', 'Transfer-Encoding: chunked')}5;x=y\r\nhello\r\n0\r\n\r\n${head('GET /2')}`,
    )
    const peer = await upstream.peer(0)
    await peer.read('\r\n0\r\n\r\n')
    expect(peer.take()).toMatch(/Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n$/)
    peer.send(OK)
    await peer.read('GET /2')
    peer.send(OK)
    await client.read(/ok[\s\S]*ok/)
    client.send(`${head('PUT /3', 'Content-Length: 5')}wor`)
    await peer.read('wor')
    client.send(`ld${head('GET /4')}`)
    await peer.read('world')
    peer.send(OK)
    await peer.read('GET /4')
  })

  test('that expects 100 gets the sandbox’s own word for it', async () => {
    const { gateway, upstream } = await startPair(startRaw())
    const client = dial(gateway.port).send(head('PUT /', 'Content-Length: 3', 'Expect: 100-continue'))
    const peer = await upstream.peer(0)
    await peer.read('Expect: 100-continue')
    peer.send('HTTP/1.1 100 Continue\r\n\r\n')
    expect(await client.read('100 Continue')).toBe('HTTP/1.1 100 Continue\r\n\r\n')
    client.send('abc')
    await peer.read('abc')
    peer.send(`HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${OK}`)
    expect(await client.read('ok')).toContain('103 Early Hints\r\nLink: x')
  })

  test('by header and by path is told the sandbox’s own address, and redirects lead back', async () => {
    const { gateway, upstream } = await startPair(
      startAnswering('HTTP/1.1 302 X\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n'),
    )
    const ask = (lines: string) => exchange(gateway.port, `${lines}\r\nConnection: close\r\n\r\n`)
    const heads: string[] = []
    upstream.server.on('connection', (socket) => socket.on('data', (chunk) => heads.push(String(chunk))))
    const host = `Host: 127.0.0.1:${gateway.port}`
    expect(await ask(`GET /sandboxes/a/proxy/8000/x HTTP/1.1\r\n${host}\r\nAuthorization: x`)).toContain(
      'Location: /sandboxes/a/proxy/8000/login\r\nContent-Security-Policy: sandbox ',
    )
    expect(
      await ask(`GET /x HTTP/1.1\r\n${host}\r\nOpenSandbox-Ingress-To: a-8000\r\nAuthorization: x`),
    ).toContain('Location: /login\r\n')
    expect(heads[0]).toContain(`GET /x HTTP/1.1\r\nHost: 127.0.0.1:${upstream.port}\r\n`)
    expect(heads[0]).not.toContain('Authorization')
    expect(heads[0]).toContain('X-Forwarded-Prefix: /sandboxes/a/proxy/8000\r\n')
    expect(heads[1]).toContain('Authorization: x')
  })
})

describe('an answer', () => {
  test('of events passes at once', async () => {
    const { gateway, upstream } = await startPair(startRaw())
    const client = dial(gateway.port).send(head('GET /'))
    const peer = await upstream.peer(0)
    await peer.read('\r\n\r\n')
    peer.send('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n')
    await client.read('\r\n\r\n')
    for (const text of ['one', 'two']) {
      peer.send(`3\r\n${text}\r\n`)
      await client.read(text)
    }
    peer.send('0\r\nX-Sum: 1\r\nSet-Cookie: evil\r\n\r\n')
    expect(await client.read('X-Sum: 1\r\n\r\n')).not.toContain('evil')
  })

  test.each([
    ['ends with the connection', 'HTTP/1.0 200 OK\r\n\r\nhello', 'hello'],
    ['has no reason', 'HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello', 'hello'],
  ])('that %s is whole', async (_name, answer, body) => {
    const { gateway } = await startPair(
      startRaw((peer) => void peer.read('\r\n\r\n').then(() => peer.send(answer).socket.end())),
    )
    const text = await exchange(gateway.port, head('GET /', 'Connection: close'))
    expect(text.startsWith('HTTP/1.1 200 ')).toBe(true)
    expect(text).toContain('Connection: close\r\n')
    expect(text.endsWith(`\r\n\r\n${body}`)).toBe(true)
  })

  test('in chunks comes to a client of HTTP/1.0 without them', async () => {
    const { gateway } = await startPair(
      startAnswering('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'),
    )
    const text = await exchange(gateway.port, 'GET / HTTP/1.0\r\nHost: a-8000.localhost\r\n\r\n')
    expect(text).toBe('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde')
  })

  test('to HEAD, and a 304, have no body, and the connection goes on', async () => {
    const { gateway, upstream } = await startPair(
      startAnswering((text) =>
        text.startsWith('HEAD')
          ? 'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n'
          : 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n',
      ),
    )
    const client = dial(gateway.port).send(head('HEAD /') + head('GET /') + head('HEAD /'))
    await client.read(/999[\s\S]*304[\s\S]*999\r\n\r\n/)
    expect(upstream.peers).toHaveLength(1)
  })

  test.each([
    ['no HTTP', 'SSH-2.0-OpenSSH\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['both framings', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a bare LF', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n'],
    ['a head without end', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(80_000)}`],
    ['an upgrade nobody asked for', 'HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'],
    ['a hundred interim answers', 'HTTP/1.1 102 X\r\n\r\n'.repeat(100)],
  ])('that is not to be understood (%s) becomes a 502', async (_name, answer) => {
    const { gateway, upstream } = await startPair(startAnswering(answer))
    const text = await exchange(gateway.port, head('GET /', 'Connection: close'))
    expect(text).toMatch(/HTTP\/1\.1 502 [\s\S]*"code":"BACKEND_RESPONSE_FAILED"/)
    await upstream.peers[0]?.ended()
  })

  test('that breaks off is broken off, so that nobody takes half for all', async () => {
    for (const answer of [
      'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n0\r\n\r\n',
    ]) {
      const { gateway } = await startPair(
        startRaw((peer) => void peer.read('\r\n\r\n').then(() => peer.send(answer).socket.end())),
      )
      const outcome = await new Promise<string>((resolve) => {
        const asked = httpRequest({
          port: gateway.port,
          host: '127.0.0.1',
          headers: { host: 'a-8000.localhost' },
        })
        asked.on('response', (got) => {
          got
            .on('error', () => resolve('broken'))
            .on('end', () => resolve('whole'))
            .resume()
        })
        asked.on('error', () => resolve('broken'))
        asked.end()
      })
      expect(outcome).toBe('broken')
    }
  })

  test('without length that is cut off is reset, which is all that tells', async () => {
    const { gateway } = await startPair(
      startRaw(
        (peer) =>
          void peer.read('\r\n\r\n').then(() => {
            peer.send('HTTP/1.1 200 OK\r\n\r\nhalf')
          }),
      ),
    )
    const client = dial(gateway.port).send(head('GET /'))
    await client.read('half')
    gateway.routes.delete('a')
    await client.ended()
    expect(client.error).toMatchObject({ code: 'ECONNRESET' })
  })

  test('before the request is whole ends the exchange, and what still comes is not taken for a request', async () => {
    const { gateway } = await startPair(
      startRaw(
        (peer) =>
          void peer.read('\r\n\r\n').then(() => peer.send('HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n')),
      ),
    )
    const client = dial(gateway.port).send(head('POST /', 'Content-Length: 100'))
    await client.read('413')
    client.send(head('GET /smuggled'))
    expect(await client.ended()).not.toContain('200')
  })
})

describe('who leaves', () => {
  test('a client: the sandbox is told, and it is logged as 499', async () => {
    const { gateway, upstream } = await startPair(startRaw())
    const client = dial(gateway.port).send(head('GET /secret?token=abc'))
    const peer = await upstream.peer(0)
    await peer.read('\r\n\r\n')
    client.socket.destroy()
    await peer.ended()
    const line = gateway.lines.find((each) => each.includes('status=499'))
    expect(line).toContain('path=/secret ')
    expect(line).not.toContain('token')
  })

  test('a client in the middle of its body: the sandbox’s request never becomes whole', async () => {
    const { gateway, upstream } = await startPair(startRaw())
    const client = dial(gateway.port).send(`${head('POST /', 'Transfer-Encoding: chunked')}5\r\nhel`)
    const peer = await upstream.peer(0)
    await peer.read('hel')
    client.socket.destroy()
    expect(await peer.ended()).not.toContain('0\r\n\r\n')
  })

  test('a client whose body turns out wrong: 400, and the sandbox is cut off', async () => {
    const { gateway, upstream } = await startPair(startRaw())
    const client = dial(gateway.port).send(`${head('POST /', 'Transfer-Encoding: chunked')}5\r\nhello\r\n`)
    const peer = await upstream.peer(0)
    await peer.read('hello')
    client.send('zz\r\n')
    expect(await client.ended()).toMatch(/HTTP\/1\.1 400 /)
    await peer.ended()
  })

  test('the sandbox before it answers: 502', async () => {
    const { gateway } = await startPair(
      startRaw((peer) => void peer.read('\r\n\r\n').then(() => peer.socket.destroy())),
    )
    expect(await exchange(gateway.port, head('POST /', 'Content-Length: 0', 'Connection: close'))).toMatch(
      /HTTP\/1\.1 502 [\s\S]*BACKEND_RESPONSE_FAILED/,
    )
  })
})

describe('a connection that is used again', () => {
  test('and turns out to be dead is replaced for a GET, and not for a POST', async () => {
    const { gateway, upstream } = await startPair(
      startRaw((peer, at) => {
        void peer.read('\r\n\r\n').then(async () => {
          peer.take()
          peer.send(OK)
          if (at > 0) return
          // The second request on the first connection meets its end.
          await peer.read('\r\n\r\n')
          peer.socket.destroy()
        })
      }),
    )
    const client = dial(gateway.port).send(head('GET /1'))
    await client.read('ok')
    client.take()
    client.send(head('GET /2'))
    expect(await client.read('ok')).toContain('200')
    expect(upstream.peers).toHaveLength(2)
  })

  test('is never shared by two lives of a sandbox', async () => {
    const { gateway, upstream } = await startPair(startAnswering(OK))
    const client = dial(gateway.port)
    for (const generation of [1, 2, 2]) {
      gateway.routes.put('a', upstream.port, { generation })
      client.send(head('GET /'))
      await client.read('ok')
      client.take()
    }
    expect(upstream.peers).toHaveLength(2)
    await upstream.peers[0]?.ended()
  })

  test('is closed with the sandbox, and so is a running answer', async () => {
    const { gateway, upstream } = await startPair(startRaw())
    const client = dial(gateway.port).send(head('GET /'))
    const peer = await upstream.peer(0)
    await peer.read('\r\n\r\n')
    peer.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n')
    await client.read('abc')
    gateway.routes.put('a', upstream.port, { state: 'terminated' })
    await peer.ended()
    await client.ended()
  })

  test('is not used when more came than its answer', async () => {
    const { gateway, upstream } = await startPair(
      startAnswering(`${OK}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale`),
    )
    const client = dial(gateway.port)
    for (let round = 0; round < 2; round++) {
      client.send(head('GET /'))
      await client.read('ok')
      expect(client.take()).not.toContain('stale')
    }
    expect(upstream.peers).toHaveLength(2)
  })

  test('is not waited for when there are too many', async () => {
    const gateway = await startGateway({ pool: new UpstreamPool({ perTarget: 1 }) })
    const upstream = await startRaw()
    gateway.routes.put('a', upstream.port)
    dial(gateway.port).send(head('GET /'))
    await upstream.peer(0)
    expect(await exchange(gateway.port, head('GET /', 'Connection: close'))).toMatch(
      /503 [\s\S]*Retry-After: 1/,
    )
  })
})

describe('much', () => {
  test('goes both ways whole, whatever the framing', async () => {
    const server = createServer((request, response) => {
      const hash = createHash('sha256')
      request.on('data', (chunk) => hash.update(chunk))
      request.on('end', () => response.end(hash.digest('hex')))
      if (request.url === '/down') {
        const block = Buffer.alloc(1_000_003, 'abcdefg')
        let left = 40
        const more = () => {
          while (left > 0) {
            left--
            if (!response.write(block)) return void response.once('drain', more)
          }
          response.end()
        }
        request.removeAllListeners('end')
        more()
      }
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    const address = server.address()
    const gateway = await startGateway()
    gateway.routes.put('a', typeof address === 'object' && address ? address.port : 0)
    const url = `http://127.0.0.1:${gateway.port}/sandboxes/a/proxy/8000`
    const block = Buffer.alloc(1_000_003, 'abcdefg')
    const wanted = createHash('sha256')
    for (let at = 0; at < 40; at++) wanted.update(block)
    const expected = wanted.digest('hex')

    const down = createHash('sha256')
    const got = await fetch(`${url}/down`)
    if (!got.body) throw new Error('No body')
    for await (const chunk of got.body) down.update(chunk)
    expect(down.digest('hex')).toBe(expected)

    const whole = Buffer.concat(Array.from({ length: 40 }, () => block))
    expect(await (await fetch(`${url}/up`, { method: 'PUT', body: whole })).text()).toBe(expected)
    let left = 40
    const stream = new ReadableStream({
      pull: (controller) => (left-- > 0 ? controller.enqueue(block) : controller.close()),
    })
    const sent = await fetch(`${url}/up`, { method: 'PUT', body: stream, duplex: 'half' } as RequestInit)
    expect(await sent.text()).toBe(expected)
  })

  test('is read no faster than the other side takes it', async () => {
    const { gateway, upstream } = await startPair(startRaw())
    const client = dial(gateway.port).send(head('GET /'))
    const peer = await upstream.peer(0)
    await peer.read('\r\n\r\n')
    client.socket.pause()
    const total = 64 * 2 ** 20
    peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${total}\r\n\r\n`)
    const block = Buffer.alloc(2 ** 20, 'x')
    const isFull = await new Promise<boolean>((resolve) => {
      let left = 64
      const more = () => {
        if (left-- === 0) return resolve(false)
        const timer = setTimeout(() => resolve(true), 500)
        peer.socket.write(block, () => {
          clearTimeout(timer)
          more()
        })
      }
      more()
    })
    expect(isFull).toBe(true)
    client.socket.destroy()
  })
})
