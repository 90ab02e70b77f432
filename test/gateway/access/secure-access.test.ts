// Who may reach a sandbox that is not open to everybody: by its token, by a signed name, by a link, by a cookie.

import { describe, expect, test } from 'vitest'
import type { GatewayOptions } from '../../../gateway/server.ts'
import { hashKey } from '../../../lib/access.ts'
import type { Route, Share } from '../../../lib/api/routes-feed.ts'
import { formatShareToken } from '../../../lib/share-link.ts'
import { formatExpires, type SigningKeys, signRoute } from '../../../lib/signature.ts'
import { dial, exchange, OPEN_ACCESS, startAnswering, startGateway } from '../support.ts'

const TOKEN = 'q83vEjRWeJASNFZ4kBI0VniQEjRWeJAS'
const SECRET = 'a'.repeat(64)
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const NOW = 1_800_000_000_000
const KEYS: SigningKeys = new Map([['k', Buffer.from('secret')]])
const END = formatExpires(BigInt(NOW / 1000 + 60))

function share(change: Partial<Share> = {}): Share {
  return { id: '0123456789abcdef', port: 8000, hash: hashKey(SECRET), until: NOW + 60_000, ...change }
}
const linkOf = ({ id } = share(), secret = SECRET) => formatShareToken({ id, secret })
const cookieOf = ({ id } = share(), secret = SECRET) => `opensandbox-share-${id}=${secret}`

function nameOf({ id = 'a', port = 8000, expires = END, keyId = 'k', keys = KEYS } = {}): string {
  return `${id}-${port}-${expires}-${signRoute(keys, keyId, { id, port, expires })}`
}

async function start(options: Partial<GatewayOptions> = {}, route: Partial<Route> = {}) {
  const upstream = await startAnswering(OK)
  const seen: string[] = []
  for (const at of [0, 1])
    void upstream
      .peer(at)
      .then((peer) => peer.socket.prependListener('data', (text) => seen.push(String(text))))
  const gateway = await startGateway({
    access: { ...OPEN_ACCESS, keys: KEYS },
    wallNow: () => NOW,
    ...options,
  })
  const ports = {
    8000: { host: '127.0.0.1', port: upstream.port },
    9000: { host: '127.0.0.1', port: upstream.port },
  }
  gateway.routes.put('a', 0, { accessHash: hashKey(TOKEN), ports, ...route })
  const ask = (line: string, host: string, ...lines: string[]) =>
    exchange(
      gateway.port,
      [`${line} HTTP/1.1`, `Host: ${host}`, 'Connection: close', ...lines, '', ''].join('\r\n'),
    )
  /** Asks port 8000 of sandbox a by its host name. */
  const get = (target: string, ...lines: string[]) => ask(`GET ${target}`, 'a-8000.localhost', ...lines)
  return { gateway, upstream, seen, ask, get }
}

const statusOf = (answer: string) => Number(answer.slice(9, 12))
const headerOf = (answer: string, name: string) => new RegExp(`^${name}: (.*)\r$`, 'mi').exec(answer)?.[1]
/** An answer without what differs between any two. */
const alike = (answer: string) => answer.replace(/^(Date|X-Request-ID): .*\r\n/gm, '')

const BY_BROWSER = ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Site: cross-site', 'Accept: text/html']

describe('the token of the sandbox', () => {
  test.each([
    ['right', [`OpenSandbox-Secure-Access: ${TOKEN}`], 200],
    ['right, between blanks', [`OpenSandbox-Secure-Access:  ${TOKEN} `], 200],
    ['the first of two', [`OpenSandbox-Secure-Access: ${TOKEN}`, 'OpenSandbox-Secure-Access: x'], 200],
    ['absent', [], 401],
    ['empty', ['OpenSandbox-Secure-Access: '], 401],
    ['wrong', ['OpenSandbox-Secure-Access: x'], 401],
    ['in other letters', [`OpenSandbox-Secure-Access: ${TOKEN.toUpperCase()}`], 401],
    ['too short', [`OpenSandbox-Secure-Access: ${TOKEN.slice(1)}`], 401],
    ['its hash', [`OpenSandbox-Secure-Access: ${hashKey(TOKEN)}`], 401],
    ['as a bearer token', [`Authorization: Bearer ${TOKEN}`], 401],
  ])('%s', async (_, lines, status) => {
    const { get, seen } = await start()
    expect(statusOf(await get('/', ...lines))).toBe(status)
    expect(seen).toHaveLength(status === 200 ? 1 : 0)
  })

  test('it opens every port by every form, and never reaches the sandbox', async () => {
    const { ask, seen } = await start()
    const line = `OpenSandbox-Secure-Access: ${TOKEN}`
    const answers = [
      await ask('GET /', 'a-9000.localhost', line),
      await ask('GET /', 'localhost', 'OpenSandbox-Ingress-To: a-8000', line),
      await ask('GET /sandboxes/a/proxy/8000/', 'localhost', line),
    ]
    expect(answers.map(statusOf)).toEqual([200, 200, 200])
    expect(seen).not.toHaveLength(0)
    expect(seen.join()).not.toMatch(/secure-access/i)
  })

  test('a sandbox that asks for none is open, whatever is sent', async () => {
    const { gateway, ask, upstream } = await start()
    gateway.routes.put('open', upstream.port)
    const lines = ['OpenSandbox-Secure-Access: x', 'OpenSandbox-Share: x']
    expect(statusOf(await ask('GET /', 'open-8000.localhost', ...lines))).toBe(200)
    expect(statusOf(await ask('GET /', 'open-8000-0-00000000k.localhost'))).toBe(200)
  })
})

describe('a signed name', () => {
  test('it opens its port by host, by header and by path', async () => {
    const { ask, seen } = await start()
    const name = nameOf()
    const path = `/${name.replaceAll('-', '/')}`
    const answers = [
      await ask('GET /x?y', `${name}.localhost:8080`),
      await ask('GET /x?y', 'localhost', `OpenSandbox-Ingress-To: ${name}`),
      await ask(`GET ${path}/x?y`, 'localhost'),
      await ask(`GET ${path}`, 'localhost'),
    ]
    expect(answers.map(statusOf)).toEqual([200, 200, 200, 200])
    expect(
      seen
        .join('')
        .match(/GET \S+/g)
        ?.slice(0, 2),
    ).toEqual(['GET /x?y', 'GET /x?y'])
  })

  test.each([
    ['for another port', nameOf().replace('-8000-', '-9000-')],
    ['with a later end', nameOf().replace(END, formatExpires(BigInt(NOW / 1000 + 61)))],
    ['that has ended', nameOf({ expires: formatExpires(BigInt(NOW / 1000 - 1)) })],
    ['of another key', nameOf({ keys: new Map([['k', Buffer.from('other')]]) })],
    ['of a key that is not known', nameOf({ keyId: 'x', keys: new Map([['x', Buffer.from('secret')]]) })],
  ])('G3: one %s opens nothing', async (_, name) => {
    const { ask, seen } = await start()
    expect(statusOf(await ask('GET /', `${name}.localhost`))).toBe(401)
    expect(statusOf(await ask('GET /', 'localhost', `OpenSandbox-Ingress-To: ${name}`))).toBe(401)
    expect(statusOf(await ask(`GET /${name.replaceAll('-', '/')}/`, 'localhost'))).toBe(401)
    expect(seen).toEqual([])
  })

  test('one for another sandbox opens nothing of this one', async () => {
    const { gateway, ask, upstream } = await start()
    gateway.routes.put('b', upstream.port, { accessHash: hashKey('other') })
    expect(statusOf(await ask('GET /', `${nameOf().replace('a-', 'b-')}.localhost`))).toBe(401)
    expect(statusOf(await ask('GET /', 'b-8000.localhost', `OpenSandbox-Secure-Access: ${TOKEN}`))).toBe(401)
  })

  test('it holds in the second of its end', async () => {
    const { ask } = await start()
    expect(
      statusOf(await ask('GET /', `${nameOf({ expires: formatExpires(BigInt(NOW / 1000)) })}.localhost`)),
    ).toBe(200)
  })

  test('beside a token it is the token that decides', async () => {
    const { ask } = await start()
    expect(statusOf(await ask('GET /', `${nameOf()}.localhost`, 'OpenSandbox-Secure-Access: '))).toBe(401)
    const bad = 'a-8000-0-00000000k.localhost'
    expect(statusOf(await ask('GET /', bad, `OpenSandbox-Secure-Access: ${TOKEN}`))).toBe(200)
  })

  test('without keys it cannot be checked, which is no fault of its holder', async () => {
    const { ask } = await start({ access: OPEN_ACCESS })
    expect(statusOf(await ask('GET /', `${nameOf()}.localhost`))).toBe(503)
    expect(statusOf(await ask('GET /', `${nameOf()}.localhost`, `OpenSandbox-Secure-Access: ${TOKEN}`))).toBe(
      200,
    )
  })

  test('where sandboxes have paths, one that asks for no signature gets what looks like one as its path', async () => {
    const { gateway, ask, seen, upstream } = await start({
      access: { ...OPEN_ACCESS, keys: KEYS, hasUris: true },
    })
    gateway.routes.put('open', upstream.port)
    expect(statusOf(await ask('GET /open/8000/1a2b3c/01234567a/extra?q', 'localhost'))).toBe(200)
    expect(statusOf(await ask('GET /open/8000/x', 'localhost'))).toBe(200)
    expect(seen[0]).toContain('GET /1a2b3c/01234567a/extra?q HTTP/1.1')
  })

  test('G3: twenty wrong ones, and none is looked at from there for a while; a token still is', async () => {
    // Without a sweep its clock stands still: tries do not come back, however long these take.
    const { ask } = await start({ sweepMs: 3_600_000 })
    const statuses: number[] = []
    for (let at = 0; at < 21; at++)
      statuses.push(statusOf(await ask('GET /', `a-8000-${END}-0000000${at % 10}k.localhost`)))
    expect(statuses.slice(0, 19)).toEqual(Array(19).fill(401))
    expect(statuses[20]).toBe(429)
    const limited = await ask('GET /', `${nameOf()}.localhost`)
    expect(statusOf(limited)).toBe(429)
    expect(headerOf(limited, 'Retry-After')).toBe('30')
    expect(statusOf(await ask('GET /', 'a-8000.localhost', `OpenSandbox-Secure-Access: ${TOKEN}`))).toBe(200)
    expect(statusOf(await ask('GET /', 'a-8000.localhost'))).toBe(401)
  })
})

describe('a link', () => {
  test('a program brings it in a field or in the address, and neither reaches the sandbox', async () => {
    const { get, seen } = await start({}, { shares: [share()] })
    expect(statusOf(await get('/x?a=%20&b', `OpenSandbox-Share: ${linkOf()}`))).toBe(200)
    expect(statusOf(await get(`/x?a=%20&opensandbox_share=${linkOf()}&b`))).toBe(200)
    expect(seen.map((text) => text.split('\r\n')[0])).toEqual(Array(2).fill('GET /x?a=%20&b HTTP/1.1'))
    expect(seen.join()).not.toContain(SECRET)
  })

  test('G12: a browser is given a cookie and sent on, so that the link leaves the address', async () => {
    const { get, seen } = await start({}, { shares: [share()] })
    const answer = await get(`/x?a&opensandbox_share=${linkOf()}`, ...BY_BROWSER)
    expect(statusOf(answer)).toBe(303)
    expect(headerOf(answer, 'Location')).toBe('/x?a')
    expect(headerOf(answer, 'Set-Cookie')).toBe(`${cookieOf()}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax`)
    expect(headerOf(answer, 'Referrer-Policy')).toBe('no-referrer')
    expect(headerOf(answer, 'Cache-Control')).toBe('no-store')
    expect(seen).toEqual([])
    const then = await get('/x?a', ...BY_BROWSER, `Cookie: theme=dark; ${cookieOf()}; id=1`)
    expect(statusOf(then)).toBe(200)
    expect(seen[0]).toContain('Cookie: theme=dark; id=1\r\n')
  })

  test.each(['//evil.example', '/\\evil.example', '//evil.example/%2e%2e'])(
    'it sends nobody to another host by the path %s',
    async (path) => {
      const { get } = await start({}, { shares: [share()] })
      const location = headerOf(await get(`${path}?opensandbox_share=${linkOf()}`, ...BY_BROWSER), 'Location')
      expect(new URL(location ?? '', 'http://a-8000.localhost/').host).toBe('a-8000.localhost')
    },
  )

  test.each([
    ['for another port', 'GET /', 'a-9000.localhost', share()],
    ['that has ended', 'GET /', 'a-8000.localhost', share({ until: NOW })],
    ['for a path, above it', 'GET /', 'a-8000.localhost', share({ path: '/docs' })],
    ['for a path, out of it', 'GET /docs/%2e%2e/', 'a-8000.localhost', share({ path: '/docs' })],
    ['for a method', 'POST /', 'a-8000.localhost', share({ methods: ['GET'] })],
    ['with another secret', 'GET /', 'a-8000.localhost', share({ hash: hashKey('other') })],
    ['of another id', 'GET /', 'a-8000.localhost', share({ id: 'fedcba9876543210' })],
    ['that is looked at before its one use', 'HEAD /', 'a-8000.localhost', share({ once: true })],
  ])('one %s opens nothing', async (_, line, host, only) => {
    const { ask, seen } = await start({}, { shares: [only] })
    expect(statusOf(await ask(line, host, `OpenSandbox-Share: ${linkOf()}`))).toBe(404)
    expect(statusOf(await ask(line, host, `Cookie: ${cookieOf()}`))).toBe(401)
    expect(seen).toEqual([])
  })

  test.each([
    ['GET /docs', share({ path: '/docs' })],
    ['GET /docs/a?b', share({ path: '/docs' })],
    ['HEAD /', share({ methods: ['GET'] })],
    ['POST /', share({ methods: ['GET', 'POST'] })],
  ])('%s is within its bounds', async (line, only) => {
    const { ask } = await start({}, { shares: [only] })
    expect(statusOf(await ask(line, 'a-8000.localhost', `Cookie: ${cookieOf()}`))).toBe(200)
  })

  test('G7: of a sandbox that is not there it says the same as of one that it does not open', async () => {
    const { ask } = await start({}, { shares: [] })
    const line = `OpenSandbox-Share: ${linkOf()}`
    const [there, gone] = [
      await ask('GET /', 'a-8000.localhost', line),
      await ask('GET /', 'b-8000.localhost', line),
    ]
    expect(statusOf(there)).toBe(404)
    expect(alike(there)).toBe(alike(gone))
  })

  test('a cookie of the path form counts nothing: all sandboxes have one cookie jar there', async () => {
    const { ask } = await start({}, { shares: [share()] })
    expect(statusOf(await ask('GET /sandboxes/a/proxy/8000/', 'localhost', `Cookie: ${cookieOf()}`))).toBe(
      401,
    )
    const byLink = await ask('GET /sandboxes/a/proxy/8000/', 'localhost', `OpenSandbox-Share: ${linkOf()}`)
    expect(statusOf(byLink)).toBe(200)
  })

  test('what is under way by a link is cut when the link is revoked or has ended', async () => {
    let now = NOW
    const { gateway, upstream } = await start(
      { wallNow: () => now },
      { shares: [share(), share({ id: 'fedcba9876543210' })] },
    )
    const open = async (at: number, id: string) => {
      const client = dial(gateway.port).send(
        `GET / HTTP/1.1\r\nHost: a-8000.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOpenSandbox-Share: ${linkOf(share({ id }))}\r\n\r\n`,
      )
      const peer = await upstream.peer(at)
      peer.send('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
      await client.read('101')
      return client
    }
    const first = await open(0, share().id)
    const second = await open(1, 'fedcba9876543210')
    gateway.routes.put('a', 0, { ...gateway.routes.get('a'), shares: [share({ id: 'fedcba9876543210' })] })
    await first.ended()
    now += 60_000
    await second.ended()
  })
})

describe('a link that opens once', () => {
  const once = share({ once: true })
  const SESSION = 'b'.repeat(64)

  test('a browser uses it up for a cookie of its own; the link opens nothing any more, and leads who has the cookie', async () => {
    const uses: string[] = []
    const { gateway, get } = await start(
      {
        redeem: async (id, used) => {
          uses.push(`${id} ${used.id}`)
          gateway.routes.put('a', 0, {
            ...gateway.routes.get('a'),
            shares: [share({ hash: hashKey(SESSION) })],
          })
          return { secret: SESSION }
        },
      },
      { shares: [once] },
    )
    const target = `/?opensandbox_share=${linkOf(once)}`
    const answer = await get(target, ...BY_BROWSER)
    expect(statusOf(answer)).toBe(303)
    expect(headerOf(answer, 'Set-Cookie')).toContain(cookieOf(once, SESSION))
    expect(statusOf(await get('/', `Cookie: ${cookieOf(once, SESSION)}`))).toBe(200)
    expect(statusOf(await get(target, ...BY_BROWSER))).toBe(404)
    const again = await get(target, ...BY_BROWSER, `Cookie: ${cookieOf(once, SESSION)}`)
    expect(statusOf(again)).toBe(303)
    expect(headerOf(again, 'Set-Cookie')).toBeUndefined()
    expect(uses).toEqual([`a ${once.id}`])
  })

  test.each([
    ['used', 404],
    ['unreachable', 503],
  ] as const)('when control says %s, the answer is %i', async (outcome, status) => {
    const { get, seen } = await start({ redeem: async () => outcome }, { shares: [once] })
    expect(statusOf(await get('/', `OpenSandbox-Share: ${linkOf(once)}`))).toBe(status)
    expect(seen).toEqual([])
  })

  test.each([
    ['has gone', undefined],
    ['runs elsewhere', { generation: 2 }],
  ])('a sandbox that %s while control was asked is not asked at its old address', async (_, change) => {
    const other = await startAnswering(OK.replace('ok', 'no'))
    const { gateway, get, seen } = await start(
      {
        redeem: async () => {
          const ports = { 8000: { host: '127.0.0.1', port: other.port } }
          if (change) gateway.routes.put('a', 0, { ...gateway.routes.get('a'), ...change, ports })
          else gateway.routes.delete('a')
          return { secret: SESSION }
        },
      },
      { shares: [once] },
    )
    const answer = await get('/', `OpenSandbox-Share: ${linkOf(once)}`)
    expect(seen).toEqual([])
    expect(statusOf(answer)).toBe(change ? 200 : 404)
  })

  test('its secret is no cookie before it was used', async () => {
    const { get } = await start({}, { shares: [once] })
    expect(statusOf(await get('/', `Cookie: ${cookieOf(once)}`))).toBe(401)
  })
})

describe('cookies and pages of others', () => {
  const asked = async (...lines: string[]) => {
    const { ask } = await start({}, { shares: [share()] })
    return statusOf(await ask('GET /', 'a-8000.localhost:8080', `Cookie: ${cookieOf()}`, ...lines))
  }

  test.each([
    ['no browser', []],
    ['the page itself', ['Origin: http://a-8000.localhost:8080', 'Sec-Fetch-Site: same-origin']],
    [
      'a page of another port of the sandbox',
      ['Origin: http://a-3000.localhost:8080', 'Sec-Fetch-Site: same-site'],
    ],
    ['its script, image or style', ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Mode: no-cors']],
    ['the address bar', ['Sec-Fetch-Site: none', 'Sec-Fetch-Mode: navigate']],
    ['a link on any page', ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: navigate']],
  ])('by %s they count', async (_, lines) => {
    expect(await asked(...lines)).toBe(200)
  })

  test.each([
    ['a sibling sandbox', ['Origin: http://b-8000.localhost:8080', 'Sec-Fetch-Site: same-site']],
    ['another site', ['Origin: https://evil.example', 'Sec-Fetch-Site: cross-site']],
    ['a frame without an origin', ['Origin: null']],
    ['a name that only begins alike', ['Origin: http://a-8000.localhost.evil.example:8080']],
    ['another gateway on this machine', ['Origin: http://a-8000.localhost:9090']],
    ['a script tag of a sibling', ['Sec-Fetch-Site: same-site', 'Sec-Fetch-Mode: no-cors']],
    ['an image of another site', ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: no-cors']],
  ])('by %s they do not count', async (_, lines) => {
    expect(await asked(...lines)).toBe(401)
  })

  test('what a sibling has tossed in stands in the way of nothing and opens nothing', async () => {
    const { ask, gateway, upstream } = await start({}, { shares: [share()] })
    const wrong = cookieOf(share(), 'c'.repeat(64))
    const other = cookieOf(share({ id: 'fedcba9876543210' }))
    const cookies = `Cookie: ${wrong}; ${other}; ${cookieOf()}; ${wrong}`
    expect(statusOf(await ask('GET /', 'a-8000.localhost', cookies))).toBe(200)
    gateway.routes.put('b', upstream.port, {
      accessHash: hashKey('x'),
      shares: [share({ hash: hashKey('y') })],
    })
    expect(statusOf(await ask('GET /', 'b-8000.localhost', cookies))).toBe(401)
  })
})

describe('G12: the question of a browser before a request', () => {
  const PREFLIGHT = ['Origin: https://app.example', 'Access-Control-Request-Method: POST']

  test('it goes to the app, whose answer it is, and is no traffic', async () => {
    const touched: string[] = []
    const activity = { touch: (id: string) => void touched.push(id), forget: () => {} }
    const { ask, seen } = await start({ activity }, { countsTraffic: true })
    expect(statusOf(await ask('OPTIONS /api', 'a-8000.localhost', ...PREFLIGHT))).toBe(200)
    expect(seen[0]).toContain('Access-Control-Request-Method: POST')
    expect(touched).toEqual([])
    const line = `OpenSandbox-Secure-Access: ${TOKEN}`
    expect(statusOf(await ask('OPTIONS /api', 'a-8000.localhost', ...PREFLIGHT, line))).toBe(200)
    expect(touched).toEqual(['a'])
  })

  test.each(['pending', 'paused', 'stopping', 'terminated', 'failed'] as const)(
    'of one that is %s it tells no more than any other request',
    async (state) => {
      const { ask } = await start({}, { state, ports: {}, wakes: true })
      expect(statusOf(await ask('OPTIONS /api', 'a-8000.localhost', ...PREFLIGHT))).toBe(401)
    },
  )

  test.each([
    ['GET /', PREFLIGHT],
    ['OPTIONS /', ['Origin: https://app.example']],
    ['OPTIONS /', ['Access-Control-Request-Method: POST']],
    ['OPTIONS /', [...PREFLIGHT, 'Content-Length: 1']],
    ['OPTIONS /', [...PREFLIGHT, 'Transfer-Encoding: chunked']],
  ])('%s with %j is none', async (line, lines) => {
    const { ask, seen } = await start()
    expect(statusOf(await ask(line, 'a-8000.localhost', ...lines))).toBe(401)
    expect(seen).toEqual([])
  })
})

test('G7: who may not come in is told the same whatever the sandbox does', async () => {
  const { gateway, get } = await start({ wake: async () => undefined })
  const answers: string[] = []
  for (const state of ['running', 'pending', 'paused', 'stopping', 'terminated', 'failed'] as const) {
    gateway.routes.put('a', 1, { state, accessHash: hashKey(TOKEN), ports: {}, wakes: true })
    answers.push(alike(await get('/')))
  }
  expect(new Set(answers).size).toBe(1)
  expect(statusOf(answers[0] ?? '')).toBe(401)
  expect(answers[0]).toContain('"code":"MISSING_OR_INVALID_SECURE_ACCESS"')
  expect(headerOf(answers[0] ?? '', 'WWW-Authenticate')).toBe('OpenSandbox-Secure-Access')
})

test('G4: neither a token nor a signature nor a link is in the log', async () => {
  const { gateway, ask, get } = await start({}, { shares: [share()] })
  const name = nameOf()
  const signature = name.slice(-9)
  await ask('GET /x', `${name}.localhost`)
  await ask('GET /x', 'localhost', `OpenSandbox-Ingress-To: ${name}`)
  await ask(`GET /${name.replaceAll('-', '/')}/x`, 'localhost')
  await ask(`GET /${name.replaceAll('-', '/')}1/x`, 'localhost')
  await get(`/x?opensandbox_share=${linkOf()}`)
  await get('/x', `OpenSandbox-Secure-Access: ${TOKEN}`, `Cookie: ${cookieOf()}`)
  await get('/x', 'OpenSandbox-Secure-Access: almost')
  const log = gateway.lines.join('')
  expect(gateway.lines.length).toBeGreaterThan(5)
  for (const secret of [signature, TOKEN, SECRET, 'almost']) expect(log).not.toContain(secret)
})
