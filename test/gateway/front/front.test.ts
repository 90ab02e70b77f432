// The front as clients and balancers meet it: TLS and its certificates, who is believed to have passed on what, how many may come.

import { execFileSync, spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type ClientHttp2Stream, connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2'
import { request } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Certificates } from '../../../gateway/front/certificates.ts'
import { makeSelfSigned, openSelfSigned } from '../../../gateway/front/self-signed.ts'
import { type FrontOptions, LIMITS } from '../../../gateway/server.ts'
import { parseRanges } from '../../../lib/hops.ts'
import { createLogger } from '../../../lib/log.ts'
import {
  dial,
  exchange,
  head,
  Peer,
  startAnswering,
  startGateway,
  startRaw,
  type TestGateway,
} from '../support.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const LOOPBACK = parseRanges(['127.0.0.0/8'])
const NAMES = ['localhost', 'a-8000.localhost', '*.localhost', '127.0.0.1', '::1']
const log = createLogger({ program: 'gateway', write: () => {} })
const OPTIONS = { domain: 'localhost', now: Date.now, log }

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'front-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function startSecure(
  front: Partial<FrontOptions> = {},
): Promise<TestGateway & { securePort: number; ca: string }> {
  const pair = makeSelfSigned(NAMES, Date.now())
  const gateway = await startGateway({ front: { certificates: Certificates.of(pair, OPTIONS), ...front } })
  const securePort = await gateway.listen({ host: '127.0.0.1', port: 0, isSecure: true })
  return { ...gateway, securePort, ca: pair.certificate }
}

async function dialTls(port: number, options: object): Promise<{ peer: Peer; socket: TLSSocket }> {
  const socket = connectTls({ port, host: '127.0.0.1', servername: 'a-8000.localhost', ...options })
  onTestFinished(() => void socket.destroy())
  await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
  return { peer: new Peer(socket), socket }
}

describe('TLS', () => {
  test('G11: carries requests, and the sandbox is told so', async () => {
    const gateway = await startSecure()
    const upstream = await startRaw()
    gateway.routes.put('a', upstream.port)
    const { peer } = await dialTls(gateway.securePort, { ca: gateway.ca })
    peer.send(head('GET /'))
    const behind = await upstream.peer(0)
    expect(await behind.read('\r\n\r\n')).toContain('X-Forwarded-Proto: https\r\n')
    behind.send(OK)
    expect(await peer.read('ok')).toContain('200 OK')
  })

  test('carries much, both ways', async () => {
    const gateway = await startSecure()
    const size = 8 * 2 ** 20
    let received = 0
    const upstream = await startRaw(({ socket }) => {
      socket.on('data', (chunk) => {
        received += String(chunk).length
        if (received < size) return
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\nConnection: close\r\n\r\n`)
        socket.write(Buffer.alloc(size, 'z'))
      })
    })
    gateway.routes.put('a', upstream.port)
    const text = await new Promise<string>((resolve, reject) => {
      const sent = request(
        {
          port: gateway.securePort,
          host: '127.0.0.1',
          ca: gateway.ca,
          servername: 'a-8000.localhost',
          method: 'POST',
          headers: { Host: 'a-8000.localhost', 'Content-Length': size },
        },
        (answer) => {
          let all = ''
          answer
            .setEncoding('latin1')
            .on('data', (chunk: string) => {
              all += chunk
            })
            .on('end', () => resolve(all))
        },
      )
      sent.on('error', reject).end(Buffer.alloc(size, 'y'))
    })
    expect(text.length).toBe(size)
  })

  test('shows each name its certificate, and others the first', async () => {
    const folder = makeFolder()
    const files = ['one.example', '*.two.example'].map((name, at) => {
      const { key, certificate } = makeSelfSigned([name], Date.now())
      const paths = { certificate: join(folder, `${at}.pem`), key: join(folder, `${at}.key`) }
      writeFileSync(paths.certificate, certificate)
      writeFileSync(paths.key, key)
      return paths
    })
    const certificates = await Certificates.load(files, OPTIONS)
    const gateway = await startSecure({ certificates })
    const shown = async (servername: string) => {
      const { socket } = await dialTls(gateway.securePort, { servername, rejectUnauthorized: false })
      return socket.getPeerX509Certificate()?.subjectAltName
    }
    expect(await shown('one.example')).toBe('DNS:one.example')
    expect(await shown('a-80.two.example')).toBe('DNS:*.two.example')
    expect(await shown('other.example')).toBe('DNS:one.example')

    // A renewed one is shown, and one that does not fit its key changes nothing.
    const renewed = makeSelfSigned(['one.example', 'three.example'], Date.now())
    const [first] = files
    if (!first) throw new Error('There are two')
    writeFileSync(first.certificate, renewed.certificate)
    await certificates.refresh()
    expect(await shown('one.example')).toBe('DNS:one.example')
    writeFileSync(first.key, renewed.key)
    await certificates.refresh()
    expect(await shown('three.example')).toBe('DNS:one.example, DNS:three.example')
  })

  test('what is wrong with a certificate is said', async () => {
    const folder = makeFolder()
    const [one, other] = [makeSelfSigned(['a.example'], 0), makeSelfSigned(['a.example'], 0)]
    writeFileSync(join(folder, 'c.pem'), one.certificate)
    writeFileSync(join(folder, 'k.pem'), other.key)
    const load = (certificate: string, key: string) =>
      Certificates.load([{ certificate: join(folder, certificate), key: join(folder, key) }], OPTIONS)
    await expect(load('c.pem', 'k.pem')).rejects.toThrow('they do not belong together')
    await expect(load('c.pem', 'none.pem')).rejects.toThrow(/Cannot read ".*none\.pem"/)
    await expect(load('k.pem', 'k.pem')).rejects.toThrow(/Cannot use the certificate/)
  })

  test('a certificate that no client takes, or is not for sandboxes, is shown, and the log says so', async () => {
    const folder = makeFolder()
    const files = { certificate: join(folder, 'c.pem'), key: join(folder, 'k.pem') }
    const lines: string[] = []
    const told = createLogger({ program: 'gateway', write: (line) => void lines.push(line) })
    const write = (now: number) => {
      const { certificate, key } = makeSelfSigned(['api.example'], now)
      writeFileSync(files.certificate, certificate)
      writeFileSync(files.key, key, { mode: 0o644 })
    }
    const now = Date.now()
    write(0)
    const certificates = await Certificates.load([files], {
      domain: 'box.example',
      now: () => now,
      log: told,
    })
    expect(certificates.first).toBeDefined()
    const said = () =>
      lines.splice(0).map((line) => /has expired|by everybody|names of sandboxes/.exec(line)?.[0])
    expect(said()).toEqual(['has expired', 'by everybody', 'names of sandboxes'])
    write(now)
    await certificates.refresh()
    expect(said()).toEqual(['by everybody', 'names of sandboxes', undefined])
  })

  test('a certificate of its own is made once, for who reads it strictly too', () => {
    const folder = join(makeFolder(), 'tls')
    const made = openSelfSigned(folder, [...NAMES, '2001:db8::7'], Date.now())
    expect(openSelfSigned(folder, ['other.example'], Date.now())).toEqual(made)
    const parsed = new X509Certificate(made.certificate)
    expect(parsed.subjectAltName).toBe(
      'DNS:localhost, DNS:a-8000.localhost, DNS:*.localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:2001:DB8:0:0:0:0:0:7',
    )
    expect(parsed.verify(parsed.publicKey)).toBe(true)
    writeFileSync(join(folder, 'c.pem'), made.certificate)
    const said = execFileSync(
      'openssl',
      ['verify', '-x509_strict', '-CAfile', join(folder, 'c.pem'), join(folder, 'c.pem')],
      {
        encoding: 'utf8',
      },
    )
    expect(said).toContain('OK')
  })

  test('G8: that does not begin in time, or is none, ends the connection and nothing else', async () => {
    const gateway = await startSecure({ limits: { ...LIMITS, headTimeoutMs: 50 } })
    const silent = dial(gateway.securePort)
    expect(await silent.ended()).toBe('')
    expect(await exchange(gateway.securePort, 'GET / HTTP/1.1\r\n\r\n')).not.toContain('HTTP/1.1')
    expect(
      await exchange(gateway.port, 'GET /status.ok HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'),
    ).toContain('OK')
  })

  test('an answer that is cut off ends without TLS’s farewell', async () => {
    const gateway = await startSecure()
    const upstream = await startRaw((peer) => {
      peer.socket.on('data', () =>
        peer.socket.write('HTTP/1.1 200 OK\r\n\r\nhalf', () => peer.socket.resetAndDestroy()),
      )
    })
    gateway.routes.put('a', upstream.port)
    const args = ['-sS', '--cacert', '-', '--resolve', `a-8000.localhost:${gateway.securePort}:127.0.0.1`]
    const child = spawn('curl', [...args, `https://a-8000.localhost:${gateway.securePort}/`])
    child.stdin.end(gateway.ca)
    let said = ''
    child.stderr.on('data', (chunk) => {
      said += String(chunk)
    })
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
    expect(code, said).not.toBe(0)
  })
})

describe('a hop that is trusted', () => {
  test('G11: tells who asks, how and for whom; others are not believed', async () => {
    const upstream = await startRaw()
    const forwarded = async (trustedProxies: FrontOptions['trustedProxies'], at: number) => {
      const gateway = await startGateway({ front: { trustedProxies } })
      gateway.routes.put('a', upstream.port)
      dial(gateway.port).send(
        head(
          'GET /',
          'X-Forwarded-For: 1.1.1.1, 203.0.113.9',
          'X-Forwarded-Proto: https',
          'X-Forwarded-Host: shop.example',
        ),
      )
      const text = await (await upstream.peer(at)).read('\r\n\r\n')
      return text.match(/X-Forwarded-.*(?=\r\n)/g)
    }
    expect(await forwarded(LOOPBACK, 0)).toEqual([
      'X-Forwarded-For: 203.0.113.9, 127.0.0.1',
      'X-Forwarded-Proto: https',
      'X-Forwarded-Host: shop.example',
    ])
    expect(await forwarded(parseRanges(['10.0.0.0/8']), 1)).toEqual([
      'X-Forwarded-For: 127.0.0.1',
      'X-Forwarded-Proto: http',
      'X-Forwarded-Host: a-8000.localhost',
    ])
  })

  test.each([
    ['1', Buffer.from('PROXY TCP4 203.0.113.9 198.51.100.1 1 2\r\n')],
    [
      '2',
      Buffer.concat([
        Buffer.from('\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c', 'latin1'),
        Buffer.from([203, 0, 113, 9, 1, 1, 1, 1, 0, 1, 0, 2]),
      ]),
    ],
  ])('may speak the PROXY protocol %s, in pieces, with TLS and without', async (_version, header) => {
    const gateway = await startSecure({ proxyProtocol: LOOPBACK })
    const upstream = await startRaw()
    gateway.routes.put('a', upstream.port)
    const client = dial(gateway.port)
    client.socket.setNoDelay(true)
    for (const byte of header) {
      client.socket.write(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    client.send(head('GET /'))
    expect(await (await upstream.peer(0)).read('\r\n\r\n')).toContain('X-Forwarded-For: 203.0.113.9\r\n')

    const raw = connect({ port: gateway.securePort, host: '127.0.0.1' })
    onTestFinished(() => void raw.destroy())
    raw.write(header)
    const secure = connectTls({ socket: raw, servername: 'a-8000.localhost', ca: gateway.ca })
    secure.write(head('GET /'))
    expect(await (await upstream.peer(1)).read('\r\n\r\n')).toContain('X-Forwarded-For: 203.0.113.9\r\n')
  })

  test('must speak the PROXY protocol when it is said to, and others must not', async () => {
    const request = 'GET /status.ok HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
    const told = await startGateway({ front: { proxyProtocol: LOOPBACK } })
    expect(await exchange(told.port, request)).toBe('')
    const untold = await startGateway()
    expect(await exchange(untold.port, `PROXY TCP4 203.0.113.9 198.51.100.1 1 2\r\n${request}`)).toMatch(
      /^HTTP\/1\.1 400 /,
    )
  })
})

describe('who comes too often', () => {
  /** How many connections were refused, by the limit that they met. */
  const refusedOf = ({ figures }: TestGateway) =>
    Object.fromEntries(
      figures()
        .families.filter(({ name }) => name === 'opensandbox_gateway_refused_connections_total')
        .flatMap(({ samples }) => samples.map(({ labels, value }) => [labels.limit, value])),
    )

  test('G8: a client is told so, and another is not', async () => {
    const gateway = await startGateway({
      front: { proxyProtocol: LOOPBACK, limits: { ...LIMITS, connectionsPerClient: 2 } },
    })
    const as = (address: string) =>
      dial(gateway.port).send(
        `PROXY TCP4 ${address} 198.51.100.1 1 2\r\nGET /status.ok HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      )
    const first = as('203.0.113.9')
    for (const client of [first, as('203.0.113.9')]) await client.read('OK')
    expect(await as('203.0.113.9').ended()).toMatch(/^HTTP\/1\.1 429 [\s\S]*TOO_MANY_CONNECTIONS/)
    await as('203.0.113.10').read('OK')
    first.socket.destroy()
    for (;;) {
      const again = await as('203.0.113.9').read(/OK|429/)
      if (again.includes('200 OK')) break
    }
  })

  test('all together are bounded', async () => {
    const gateway = await startGateway({ front: { limits: { ...LIMITS, connections: 1 } } })
    const first = dial(gateway.port).send('GET /status.ok HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await first.read('OK')
    expect(await dial(gateway.port).ended()).toBe('')
    expect(refusedOf(gateway)).toEqual({ client: 0, process: 1 })
  })

  test('G8: streams of HTTP/2 beside the first count as connections of their client', async () => {
    const gateway = await startGateway({
      front: { proxyProtocol: LOOPBACK, limits: { ...LIMITS, connectionsPerClient: 3 } },
    })
    const upstream = await startRaw((peer, at) => {
      if (at > 2) peer.socket.on('data', () => peer.send(OK))
    })
    gateway.routes.put('a', upstream.port)
    const socket = connect(gateway.port, '127.0.0.1')
    socket.write('PROXY TCP4 203.0.113.9 198.51.100.1 1 2\r\n')
    const session = connectHttp2('http://a-8000.localhost', { createConnection: () => socket })
    session.on('error', () => {})
    onTestFinished(() => session.destroy())
    const statusOf = (stream: ClientHttp2Stream) =>
      once(stream, 'response').then(([headers]) => Number((headers as IncomingHttpHeaders)[':status']))
    const held = [0, 1, 2].map(() => session.request({ ':path': '/' }))
    for (const stream of held) stream.on('error', () => {})
    for (const at of [0, 1, 2]) await (await upstream.peer(at)).read('\r\n\r\n')
    expect(await statusOf(session.request({ ':path': '/' }))).toBe(429)
    expect(refusedOf(gateway)).toEqual({ client: 1, process: 0 })
    expect(gateway.lines.filter((line) => line.includes('too many connections'))).toHaveLength(1)
    held[0]?.close()
    while ((await statusOf(session.request({ ':path': '/' }))) === 429);
    expect(upstream.peers).toHaveLength(4)
  })

  test('a sandbox has so many connections, on all its ports together', async () => {
    const gateway = await startGateway({ front: { limits: { ...LIMITS, connectionsPerSandbox: 2 } } })
    const upstream = await startRaw()
    const ports = {
      8000: { host: '127.0.0.1', port: upstream.port },
      8001: { host: '127.0.0.2', port: upstream.port },
    }
    gateway.routes.put('a', upstream.port, { ports })
    for (const at of [0, 1]) {
      dial(gateway.port).send(head('GET /'))
      await (await upstream.peer(at)).read('\r\n\r\n')
    }
    const other = `GET / HTTP/1.1\r\nHost: a-8001.localhost\r\n\r\n`
    expect(await dial(gateway.port).send(other).read('}')).toMatch(/^HTTP\/1\.1 503 /)
  })

  test('an idle connection of a sandbox gives way to another port', async () => {
    const gateway = await startGateway({ front: { limits: { ...LIMITS, connectionsPerSandbox: 1 } } })
    const [one, other] = [await startAnswering(OK), await startAnswering(OK)]
    const ports = {
      8000: { host: '127.0.0.1', port: one.port },
      8001: { host: '127.0.0.1', port: other.port },
    }
    gateway.routes.put('a', one.port, { ports })
    await dial(gateway.port).send(head('GET /')).read('ok')
    await dial(gateway.port).send('GET / HTTP/1.1\r\nHost: a-8001.localhost\r\n\r\n').read('ok')
  })
})
