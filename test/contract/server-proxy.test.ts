// The two ways to a sandbox by path, the gateway and control's own proxy, are one contract: every case goes through both, and the sandbox
// and the client must see what stands here. What is about one connection only (`Connection`, `Keep-Alive`), and what each server says of
// itself (`Date`, `X-Request-ID`), is not compared; nor is how a body is framed, but that it is whole.

import { describe, expect, test } from 'vitest'
import { dial, OPEN_ACCESS, type Peer, startGateway, startRaw } from '../gateway/support.ts'
import { createSandbox, openControlOnPort } from '../support/control-on-port.ts'

const ROUTES = ['the gateway', 'control'] as const
const OF_ONE_CONNECTION = new Set(['connection', 'keep-alive', 'date', 'x-request-id', 'transfer-encoding'])
const MEGABYTES = `${'abcdefgh'.repeat(512 * 1024)}END`

type Case = {
  name: string
  /** The request, in which `{base}` is the path of the port. */
  send: string
  /** What more the client does once the request has been sent. */
  client?: (peer: Peer) => Promise<void>
  /** What the sandbox does once it has the head of the request. */
  sandbox: string | ((peer: Peer) => Promise<void>)
  /** What the sandbox must have seen, and what it must not. */
  seen?: string[]
  unseen?: RegExp
  /** What the client must have got, and what it must not. */
  got: string[]
  ungot?: RegExp
  /** The connection must end, as nothing else tells that the answer is not whole. */
  isBroken?: boolean
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const get = (path: string, ...lines: string[]) =>
  [`GET {base}${path} HTTP/1.1`, 'Host: outer:1', ...lines, '', ''].join('\r\n')
const WEBSOCKET = [
  'Connection: keep-alive, Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Protocol: one, two',
  'Sec-WebSocket-Extensions: permessage-deflate',
]

const CASES: Case[] = [
  {
    name: 'fields pass as they were sent, several of a name too',
    send: get('/', 'X-Twice: one', 'x-twice: two', 'Accept-Encoding: br', 'session_id: 1'),
    sandbox: 'HTTP/1.1 299 Fine\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 0\r\n\r\n',
    seen: [
      'GET / HTTP/1.1',
      'x-twice: one',
      'x-twice: two',
      'accept-encoding: br',
      'session_id: 1',
      'host: {inner}',
    ],
    got: ['HTTP/1.1 299 Fine', 'x-a: 1', 'x-a: 2', 'content-length: 0'],
  },
  {
    name: 'where a request came from is what is known, not what it says',
    send: get(
      '/',
      'X-Forwarded-For: 6.6.6.6',
      'X-Forwarded-Port: 6',
      'X-Forwarded-Proto: https',
      'Forwarded: for=6.6.6.6',
      'X-Real-IP: 6.6.6.6',
    ),
    sandbox: OK,
    seen: [
      'x-forwarded-for: 127.0.0.1',
      'x-forwarded-proto: http',
      'x-forwarded-host: outer:1',
      'x-forwarded-prefix: {base}',
    ],
    unseen: /6\.6\.6\.6|x-forwarded-port|https/,
    got: ['HTTP/1.1 200 OK'],
  },
  {
    name: 'credentials of the shared origin do not pass, nor what is ours',
    send: get(
      '/',
      'Cookie: a=1',
      'Authorization: Bearer b',
      'OpenSandbox-Access-Renew: skip',
      'Open-Sandbox-Api-Key: k',
    ),
    sandbox: OK,
    unseen: /cookie|authorization|open-?sandbox/i,
    got: ['ok'],
  },
  {
    name: 'what is about one connection, or is named by Connection, ends there',
    send: get(
      '/',
      'Connection: X-Hop, Host',
      'X-Hop: 1',
      'Proxy-Authorization: p',
      'Proxy-Connection: p',
      'TE: trailers, deflate',
      'Trailer: X-T',
    ),
    sandbox:
      'HTTP/1.1 200 OK\r\nConnection: X-Back\r\nX-Back: 1\r\nProxy-Authenticate: p\r\nContent-Length: 2\r\n\r\nok',
    seen: ['host: {inner}', 'te: trailers'],
    unseen: /x-hop: |proxy-|deflate|trailer: /,
    got: ['ok'],
    ungot: /x-back|proxy-/,
  },
  {
    name: 'a raw path arrives as it was sent',
    send: get('/a%2Fb//c/../d;e/%7B{|}?x=%20y+z&q?r&'),
    sandbox: OK,
    seen: ['GET /a%2Fb//c/../d;e/%7B{|}?x=%20y+z&q?r& HTTP/1.1'],
    got: ['ok'],
  },
  {
    name: 'two slashes at the front, and a query that is empty',
    send: get('//x?'),
    sandbox: OK,
    seen: ['GET //x? HTTP/1.1'],
    got: ['ok'],
  },
  {
    name: 'HEAD has the length of what the body would have been',
    send: get('/').replace('GET', 'HEAD'),
    sandbox: 'HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n',
    seen: ['HEAD / HTTP/1.1'],
    got: ['HTTP/1.1 200 OK', 'content-length: 12345'],
  },
  {
    name: 'trailers pass both ways, but for those that decide something',
    send: '{post}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nAuthorization: t\r\n\r\n',
    sandbox: async (peer) => {
      await peer.read('0\r\nX-Sum: 1\r\n')
      peer.send(
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Back: 2\r\nSet-Cookie: t=1\r\n\r\n',
      )
    },
    client: async (peer) => void (await peer.read('0\r\nX-Back: 2\r\n\r\n')),
    unseen: /authorization/i,
    got: ['HTTP/1.1 200 OK', 'X-Back: 2'],
    ungot: /set-cookie/i,
  },
  {
    name: 'an answer of a known length that breaks off is broken',
    send: get('/'),
    sandbox: async (peer) => {
      peer.send('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')
      peer.socket.end()
    },
    got: ['HTTP/1.1 200 OK', 'content-length: 10'],
    isBroken: true,
  },
  {
    name: 'an answer in chunks that breaks off has no end',
    send: get('/'),
    sandbox: async (peer) => {
      peer.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n')
      peer.socket.end()
    },
    got: ['HTTP/1.1 200 OK', 'half'],
    ungot: /\r\n0\r\n/,
    isBroken: true,
  },
  {
    name: 'cookies stay with their port',
    send: get('/'),
    sandbox:
      'HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/; HttpOnly\r\nSet-Cookie: b=2; Domain=outer\r\nClear-Site-Data: "*"\r\nContent-Length: 2\r\n\r\nok',
    got: ['set-cookie: a=1; HttpOnly; Path={base}/', 'set-cookie: b=2; Path={base}/'],
    ungot: /clear-site-data|domain=/i,
  },
  {
    name: 'redirects stay with their port',
    send: get('/'),
    sandbox: 'HTTP/1.1 302 Found\r\nLocation: http://{inner}/in?x\r\nContent-Length: 0\r\n\r\n',
    got: ['HTTP/1.1 302 Found', 'location: http://outer:1{base}/in?x'],
  },
  {
    name: 'a WebSocket passes with its fields, and what comes right behind them',
    send: get('/ws', ...WEBSOCKET, 'X-Forwarded-For: 6.6.6.6', 'Cookie: a=1'),
    sandbox: async (peer) => {
      peer.send(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: two\r\nSet-Cookie: w=1; Path=/\r\n\r\nfirst',
      )
      await peer.read('from the client')
      peer.send('last')
      peer.socket.end()
    },
    client: async (peer) => {
      await peer.read('first')
      peer.send('from the client')
      await peer.read('last')
      peer.socket.end()
    },
    seen: [
      'GET /ws HTTP/1.1',
      'upgrade: websocket',
      'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==',
      'sec-websocket-version: 13',
      'sec-websocket-protocol: one, two',
      'sec-websocket-extensions: permessage-deflate',
      'x-forwarded-for: 127.0.0.1',
      'x-forwarded-prefix: {base}',
      'host: {inner}',
    ],
    unseen: /6\.6\.6\.6|cookie/,
    got: [
      'HTTP/1.1 101 Switching Protocols',
      'sec-websocket-accept: x',
      'sec-websocket-protocol: two',
      'set-cookie: w=1; Path={base}/',
      'upgrade: websocket',
      'firstlast',
    ],
  },
  {
    name: 'another protocol than WebSocket passes',
    send: get('/', 'Connection: Upgrade', 'Upgrade: tcp'),
    sandbox: async (peer) => {
      peer.send('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nraw')
      peer.socket.end()
    },
    client: async (peer) => {
      await peer.read('raw')
      peer.socket.end()
    },
    seen: ['upgrade: tcp'],
    got: ['HTTP/1.1 101 UPGRADED', 'upgrade: tcp', 'raw'],
  },
  {
    name: 'HTTP/2 is not asked for, and the request is answered',
    send: get(
      '/',
      'Connection: Upgrade, HTTP2-Settings',
      'Upgrade: h2c',
      'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA',
    ),
    sandbox: OK,
    unseen: /h2c|http2/,
    got: ['HTTP/1.1 200 OK', 'ok'],
  },
  {
    name: 'a protocol that nobody asked for is no answer',
    send: get('/', 'Connection: Upgrade', 'Upgrade: tcp'),
    sandbox: 'HTTP/1.1 101 Odd\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n',
    got: ['502'],
    ungot: /101/,
  },
  {
    name: 'an upgrade that is declined is an answer like others',
    send: get('/ws', ...WEBSOCKET),
    sandbox: 'HTTP/1.1 403 No\r\nSet-Cookie: n=1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnope\r\n0\r\n\r\n',
    got: ['HTTP/1.1 403 No', 'set-cookie: n=1; Path={base}/', 'nope'],
  },
  {
    name: "100-continue is the sandbox's to say",
    send: '{post}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n',
    sandbox: async (peer) => {
      peer.send('HTTP/1.1 100 Continue\r\n\r\n')
      await peer.read('body')
      peer.send(OK)
    },
    client: async (peer) => {
      await peer.read('HTTP/1.1 100 Continue\r\n')
      peer.send('body')
      await peer.read('ok')
    },
    seen: ['expect: 100-continue', 'content-length: 4'],
    got: ['HTTP/1.1 200 OK'],
  },
  {
    name: '100-continue is not said when the sandbox refuses',
    send: '{post}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n',
    sandbox: 'HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno',
    seen: ['expect: 100-continue'],
    got: ['HTTP/1.1 413 Too Large', 'no'],
    ungot: /100 Continue/,
  },
  {
    name: 'early hints pass, without what is about the origin',
    send: get('/'),
    sandbox: `HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nSet-Cookie: e=1\r\nAccept-CH: DPR\r\n\r\n${OK}`,
    got: [
      'HTTP/1.1 103 Early Hints',
      'Link: </a.css>; rel=preload',
      'Set-Cookie: e=1; Path={base}/',
      'HTTP/1.1 200 OK',
    ],
    ungot: /accept-ch/i,
  },
  {
    name: 'large bodies pass both ways',
    send: `{post}Content-Length: ${MEGABYTES.length}\r\n\r\n${MEGABYTES}`,
    sandbox: async (peer) => {
      await peer.read(MEGABYTES)
      peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${MEGABYTES.length}\r\n\r\n${MEGABYTES}`)
    },
    client: async (peer) => {
      await peer.read(MEGABYTES)
    },
    seen: [`content-length: ${MEGABYTES.length}`],
    got: ['HTTP/1.1 200 OK', `content-length: ${MEGABYTES.length}`],
  },
  {
    name: 'a field that programs behind take for another is refused',
    send: get('/', 'X_Forwarded_For: 6.6.6.6'),
    sandbox: OK,
    got: ['400'],
  },
  {
    name: 'the script of a service worker is refused',
    send: get('/sw.js', 'Service-Worker: script'),
    sandbox: OK,
    got: ['403', 'GENERAL::FORBIDDEN'],
  },
]

async function openRoute(name: (typeof ROUTES)[number]) {
  if (name === 'control') {
    const { port, base } = await openControlOnPort({ accessSettings: { apiKey: 'k' } })
    const id = await createSandbox(base, 'k')
    const headers = { 'open-sandbox-api-key': 'k' }
    const remove = async () => void (await fetch(`${base}/sandboxes/${id}`, { method: 'DELETE', headers }))
    return { port, id, remove }
  }
  const { port, routes } = await startGateway({ access: { ...OPEN_ACCESS, hasApiKey: true } })
  routes.put('a', 1)
  return { port, id: 'a', remove: async () => routes.delete('a') }
}

/** Names of fields in lower case, and without the lines that are not compared. */
function comparable(text: string): string {
  return text
    .split('\r\n')
    .map((line) => line.replace(/^[\w-]+(?=: )/, (name) => name.toLowerCase()))
    .filter((line) => !OF_ONE_CONNECTION.has(line.split(':')[0] ?? ''))
    .join('\r\n')
}

describe.each(ROUTES)('by %s', (name) => {
  test.each([
    [
      'in the middle of a request',
      (base: string) => `POST ${base}/ HTTP/1.1\r\nHost: o\r\nContent-Length: 9\r\n\r\nhalf`,
      '',
    ],
    [
      'with a WebSocket open',
      (base: string) => get('/', ...WEBSOCKET).replaceAll('{base}', base),
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    ],
  ])('nothing more is sent to the address of a sandbox that goes %s', async (_, format, answer) => {
    const { port, id, remove } = await openRoute(name)
    const sandbox = await startRaw()
    const client = dial(port).send(format(`/sandboxes/${id}/proxy/${sandbox.port}`))
    const peer = await sandbox.peer(0)
    await peer.read(answer === '' ? 'half' : '\r\n\r\n')
    if (answer !== '') {
      peer.send(answer)
      await client.read('101')
    }
    await remove()
    await peer.ended()
    expect(peer.error).toMatchObject({ code: 'ECONNRESET' })
    await client.ended()
  })

  test.each(CASES)('$name', async (given) => {
    const { port, id } = await openRoute(name)
    let inner = ''
    let arrived = ''
    const sandbox = await startRaw((peer) => {
      void peer.read('\r\n\r\n').then(
        async () => {
          if (typeof given.sandbox === 'string') peer.send(given.sandbox.replaceAll('{inner}', inner))
          else await given.sandbox(peer)
        },
        () => {},
      )
      peer.socket.on('data', () => {
        arrived = peer.text
      })
    })
    inner = `127.0.0.1:${sandbox.port}`
    const base = `/sandboxes/${id}/proxy/${sandbox.port}`
    const fill = (text: string) =>
      text
        .replaceAll('{post}', `POST ${base}/ HTTP/1.1\r\nHost: outer:1\r\n`)
        .replaceAll('{base}', base)
        .replaceAll('{inner}', inner)
    const client = dial(port).send(fill(given.send))
    await given.client?.(client)
    if (given.isBroken) await client.ended()
    else await client.read(/\r\n\r\n/)
    const seen = comparable(arrived)
    for (const line of given.seen ?? []) expect(seen).toContain(fill(line))
    if (given.unseen) expect(seen).not.toMatch(given.unseen)
    for (const part of given.got)
      await expect.poll(() => comparable(client.text)).toContain(comparable(fill(part)))
    if (given.ungot) expect(comparable(client.text)).not.toMatch(given.ungot)
  })
})
