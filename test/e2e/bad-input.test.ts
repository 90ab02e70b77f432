// Bad input at the one public port: an answer in the 4xx with a code, in good time, and the programs live on.

import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'

/** Who waits longer hangs. */
const LIMIT_MS = 10_000
const GOOD = {
  image: { uri: 'host' },
  entrypoint: ['sleep', '600'],
  resourceLimits: { cpu: '500m', memory: '256Mi' },
  timeout: 600,
}

let edge: Edge
let sandbox: { id: string }
let execd: { endpoint: string; headers: Record<string, string> }

beforeAll(async () => {
  edge = await startEdge()
  const response = await post(JSON.stringify({ ...GOOD, metadata: { role: 'survivor' } }))
  expect(response.status).toBe(202)
  sandbox = (await response.json()) as typeof sandbox
  execd = (await (
    await fetch(`${edge.url}/v1/sandboxes/${sandbox.id}/endpoints/44772`)
  ).json()) as typeof execd
})

afterAll(async () => {
  // Whatever was thrown at them: nothing died, and nothing more than the one sandbox was made.
  expect(edge.output()).not.toContain('program died')
  const list = (await (await fetch(`${edge.url}/v1/sandboxes`)).json()) as { items: { id: string }[] }
  expect(list.items.map(({ id }) => id)).toEqual([sandbox.id])
  await edge.dispose()
})

const soon = () => AbortSignal.timeout(LIMIT_MS)

const post = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
  fetch(`${edge.url}/v1/sandboxes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
    signal: soon(),
  })

async function expectRefusal(response: Response): Promise<{ code: string; message: string }> {
  const text = await response.text()
  expect(response.status, text.slice(0, 500)).toBeGreaterThanOrEqual(400)
  expect(response.status, text.slice(0, 500)).toBeLessThan(500)
  const body = JSON.parse(text) as { code: string; message: string }
  expect(body.code).toMatch(/\w/)
  expect(body.message).toMatch(/\w/)
  return body
}

describe('POST /v1/sandboxes refuses', () => {
  const huge = 'x'.repeat(100_000)
  // Each line: what is put over a good body, and the field that the answer must name.
  const table: [Record<string, unknown>, string][] = [
    [{ image: undefined }, 'image'],
    [{ image: 'host' }, 'image'],
    [{ image: {} }, 'uri'],
    [{ image: { uri: 7 } }, 'uri'],
    [{ image: { uri: '' } }, 'image'],
    [{ image: { uri: 'host', auth: 'me' } }, 'auth'],
    [{ entrypoint: undefined }, 'entrypoint'],
    [{ entrypoint: [] }, 'entrypoint'],
    [{ entrypoint: 'sleep' }, 'entrypoint'],
    [{ entrypoint: [1] }, 'entrypoint'],
    [{ timeout: 59 }, 'timeout'],
    [{ timeout: -1 }, 'timeout'],
    [{ timeout: 'soon' }, 'timeout'],
    [{ timeout: 1e300 }, 'timeout'],
    [{ timeout: [600] }, 'timeout'],
    [{ resourceLimits: undefined }, 'resourceLimits'],
    [{ resourceLimits: { cpu: 1 } }, 'cpu'],
    [{ resourceLimits: { cpu: 'fast' } }, 'cpu'],
    [{ resourceLimits: { cpu: '0' } }, 'cpu'],
    [{ resourceLimits: { cpu: '-1' } }, 'cpu'],
    [{ resourceLimits: { memory: '1.5Gi' } }, 'memory'],
    [{ resourceLimits: { memory: 'abc' } }, 'memory'],
    [{ resourceLimits: { memory: '0' } }, 'memory'],
    [{ resourceLimits: { memory: '99999999999999999999Ti' } }, 'memory'],
    [{ resourceLimits: { gpu: '1' } }, 'sandboxes of the local runtime get no GPUs; those of Docker can'],
    [{ env: 'A=b' }, 'env'],
    [{ env: { A: 1 } }, 'env'],
    [{ env: { 'A=B': 'x' } }, 'env'],
    [{ env: { '': 'x' } }, 'env'],
    [{ env: { A: 'nul\0' } }, 'env'],
    [{ entrypoint: ['sleep\0', '1'] }, 'entrypoint'],
    [{ metadata: { 'bad key!': 'x' } }, 'metadata'],
    [{ metadata: { a: 1 } }, 'metadata'],
    [{ metadata: { a: huge } }, 'metadata'],
    [{ metadata: { 'opensandbox.io/x': 'y' } }, 'metadata'],
    [{ networkPolicy: { defaultAction: 'maybe' } }, 'defaultAction'],
    [{ networkPolicy: { egress: [{ action: 'allow' }] } }, 'target'],
    [{ networkPolicy: { egress: [{ action: 'let', target: 'a.example' }] } }, 'action'],
    [{ networkPolicy: { egress: [{ action: 'allow', target: 'a b' }] } }, 'target'],
    [{ networkPolicy: { egress: [{ action: 'allow', target: '300.1.1.1/8' }] } }, 'target'],
    [{ networkPolicy: { egress: [{ action: 'allow', target: `${huge}.example` }] } }, 'target'],
    [{ volumes: [{ name: 'Bad Name', mountPath: '/x', host: { path: '/tmp' } }] }, 'name'],
    [{ volumes: [{ name: 'v', mountPath: 'x', host: { path: '/tmp' } }] }, 'mountPath'],
    [{ volumes: [{ name: 'v', mountPath: '/x' }] }, 'volumes'],
    [{ volumes: [{ name: 'v', mountPath: '/x', host: { path: '/tmp' } }] }, 'path'],
    [{ volumes: [{ name: 'v', mountPath: '/x', host: { path: '/tmp/../etc' } }] }, 'path'],
    [{ platform: { os: 'plan9', arch: 'amd64' } }, 'os'],
    [{ platform: { os: 'linux', arch: 'vax' } }, 'arch'],
    [{ extensions: { 'access.renew.extend.seconds': '5' } }, 'access.renew.extend.seconds'],
    [{ snapshotId: 's' }, 'snapshotId'],
    [{ secureAccess: 'maybe' }, 'secureAccess'],
  ]

  test.each(table)('%.120j, naming %s', async (change, field) => {
    const response = await post(JSON.stringify({ ...GOOD, ...change }))
    const { message } = await expectRefusal(response)
    expect(message).toContain(field)
    expect(message.length).toBeLessThan(2000)
  })

  test.each([
    ['no JSON', '{"image":'],
    ['an empty body', ''],
    ['a list', '[]'],
    ['null', 'null'],
    ['a deep nest', '['.repeat(50_000)],
    ['10 MB of one field', JSON.stringify({ ...GOOD, env: { A: 'x'.repeat(10 << 20) } })],
  ])('%s', async (_name, body) => {
    await expectRefusal(await post(body))
  })

  test('bytes that are not UTF-8', async () => {
    await expectRefusal(await post(new Uint8Array([0x7b, 0xff, 0xfe, 0x7d])))
  })

  test('a content type that is not JSON', async () => {
    await expectRefusal(await post(JSON.stringify(GOOD), { 'content-type': 'text/plain' }))
  })

  test('and never sends back what it was sent', async () => {
    const response = await post(JSON.stringify({ ...GOOD, env: { A: 'nul\0', SECRET: 'hunter2-hunter2' } }))
    expect(await response.text()).not.toContain('hunter2')
  })
})

describe('other routes refuse', () => {
  test.each([
    ['GET', '/v1/sandboxes/UPPER'],
    ['GET', '/v1/sandboxes/..%2f..%2fetc'],
    ['GET', '/v1/sandboxes/%00'],
    ['GET', `/v1/sandboxes/${'a'.repeat(5000)}`],
    ['GET', '/v1/sandboxes/nosuchsandbox222'],
    ['DELETE', '/v1/sandboxes/nosuchsandbox222'],
    ['POST', '/v1/sandboxes/nosuchsandbox222/pause'],
    ['GET', '/v1/sandboxes?page=0'],
    ['GET', '/v1/sandboxes?pageSize=201'],
    ['GET', '/v1/sandboxes?metadata=%3D%3D%3D%26bad'],
    ['GET', '/v1/nothing'],
    ['PUT', '/v1/sandboxes'],
    ['GET', '/sandboxes/nosuchsandbox222/proxy/8000/'],
    ['GET', '/%zz'],
  ])('%s %.60s', async (method, path) => {
    await expectRefusal(await fetch(`${edge.url}${path}`, { method, redirect: 'manual', signal: soon() }))
  })

  test.each(['0', '65536', '-1', '8e1', 'abc', '99999999999999999999'])(
    'port %s of a sandbox',
    async (port) => {
      for (const path of [
        `/v1/sandboxes/${sandbox.id}/endpoints/${port}`,
        `/sandboxes/${sandbox.id}/proxy/${port}/`,
      ]) {
        await expectRefusal(await fetch(`${edge.url}${path}`, { signal: soon() }))
      }
    },
  )

  test('a JSON body of 10 MB at execd', async () => {
    const response = await fetch(`http://${execd.endpoint}/command`, {
      method: 'POST',
      headers: { ...execd.headers, 'content-type': 'application/json' },
      body: JSON.stringify({ command: 'x'.repeat(10 << 20) }),
      signal: soon(),
    })
    await expectRefusal(response)
  })

  test('execd without its token', async () => {
    const response = await fetch(`http://${execd.endpoint}/files/info?path=/etc/passwd`, { signal: soon() })
    expect(response.status).toBe(401)
    expect(await response.text()).toContain('X-EXECD-ACCESS-TOKEN')
  })

  test.each(['/tmp/a\0b', '', 'x'.repeat(10_000)])('the path %.20j at execd', async (path) => {
    const response = await fetch(`http://${execd.endpoint}/files/download?path=${encodeURIComponent(path)}`, {
      headers: execd.headers,
      signal: soon(),
    })
    await expectRefusal(response)
  })
})

describe('the gateway refuses heads that can be read in two ways', () => {
  const host = () => `Host: 127.0.0.1:${edge.port}`
  const table: [string, () => string][] = [
    ['no host', () => 'GET /health HTTP/1.1\r\n\r\n'],
    ['two hosts', () => `GET /health HTTP/1.1\r\n${host()}\r\nHost: other\r\n\r\n`],
    [
      'two lengths',
      () => `POST /v1/sandboxes HTTP/1.1\r\n${host()}\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}`,
    ],
    [
      'length and chunked',
      () =>
        `POST /v1/sandboxes HTTP/1.1\r\n${host()}\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    [
      'an unknown coding',
      () => `POST /v1/sandboxes HTTP/1.1\r\n${host()}\r\nTransfer-Encoding: xchunked\r\n\r\n`,
    ],
    ['a folded line', () => `GET /health HTTP/1.1\r\n${host()}\r\nX-A: b\r\n c\r\n\r\n`],
    ['a space before the colon', () => `GET /health HTTP/1.1\r\n${host()}\r\nX-A : b\r\n\r\n`],
    ['a bare LF', () => `GET /health HTTP/1.1\n${host()}\n\n`],
    ['a NUL in a value', () => `GET /health HTTP/1.1\r\n${host()}\r\nX-A: a\0b\r\n\r\n`],
    ['a negative length', () => `POST /v1/sandboxes HTTP/1.1\r\n${host()}\r\nContent-Length: -1\r\n\r\n`],
    ['a head of 200 kB', () => `GET /health HTTP/1.1\r\n${host()}\r\nX-A: ${'a'.repeat(200_000)}\r\n\r\n`],
    [
      'two addresses of sandboxes',
      () =>
        `GET / HTTP/1.1\r\n${host()}\r\nOpenSandbox-Ingress-To: a-1\r\nOpenSandbox-Ingress-To: b-2\r\nConnection: close\r\n\r\n`,
    ],
    ['no HTTP', () => 'hello\r\n\r\n'],
  ]

  test.each(table)('%s', async (_name, head) => {
    const answer = await exchange(head())
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /)
    expect(answer).toMatch(/"code":"[^"]+"/)
  })

  test('and lets a head that never ends wait no longer than its deadline', async () => {
    const answer = await exchange(`GET /health HTTP/1.1\r\n${host()}\r\nX-Slow: `)
    expect(answer).toMatch(/^HTTP\/1\.1 408 |^$/)
  })
})

/** Sends bytes and gives back everything that comes until the other side closes. */
function exchange(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(edge.port, '127.0.0.1')
    let text = ''
    const timer = setTimeout(() => socket.destroy(new Error(`No end of the answer: ${text}`)), LIMIT_MS)
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => {
      text += chunk
    })
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNRESET' ? resolve(text) : reject(error),
    )
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(text)
    })
    socket.write(Buffer.from(bytes, 'latin1'))
  })
}
