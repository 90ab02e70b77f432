import { expect, onTestFinished, test } from 'vitest'
import { isOpenPath } from '../../control/access/authenticate.ts'
import { isLocalHost } from '../../control/access/local-caller.ts'
import { type ControlApp, createControlApp, MINIMAL } from '../support/control-app.ts'

const KEY = 'a-key'

function open(apiKey?: string): ControlApp {
  const control = createControlApp({ access: apiKey === undefined ? {} : { apiKey } })
  onTestFinished(control.close)
  return control
}

test.each([
  ['GET', '/v1/sandboxes'],
  ['POST', '/sandboxes'],
  ['GET', '/v1/pools'],
  ['GET', '/nothing'],
  ['GET', '/'],
  ['GET', '/v1/health'],
  ['GET', '/v1/version'],
  ['GET', '/healthz'],
  ['GET', '/versionx'],
  ['PUT', '/v1/sandboxes'],
  ['GET', '/sandboxes/x/proxy/80x/'],
])('%s %s needs the key before anything else', async (method, path) => {
  const control = open(KEY)
  const none = await control.call(method, path)
  expect([none.status, none.body.code]).toEqual([401, 'MISSING_API_KEY'])
  const empty = await control.call(method, path, undefined, { 'open-sandbox-api-key': '' })
  expect([empty.status, empty.body.code]).toEqual([401, 'MISSING_API_KEY'])
  for (const wrong of ['a-keyy', 'A-KEY', 'a-ke']) {
    const answer = await control.call(method, path, undefined, { 'open-sandbox-api-key': wrong })
    expect([answer.status, answer.body.code]).toEqual([401, 'INVALID_API_KEY'])
    expect(answer.text).not.toContain(wrong)
  }
  expect(none.headers.get('x-request-id')).toBeTruthy()
  const right = await control.call(method, path, undefined, { 'open-sandbox-api-key': KEY })
  expect(right.status).not.toBe(401)
})

test.each([
  ['/health', true],
  ['/version', true],
  ['/docs', true],
  ['/openapi.json', true],
  ['/sandboxes/id/proxy/8080', true],
  ['/sandboxes/id/proxy/8080/', true],
  ['/v1/sandboxes/id/proxy/8080/a/b', true],
  ['/foo/sandboxes/id/proxy/8080', false],
  ['/sandboxes/id/proxy/8080x', false],
  ['/sandboxes/id/proxy/8080/../../..', false],
  ['/sandboxes/id/proxy/', false],
  ['/health/', false],
  ['/sandboxes', false],
])('isOpenPath(%s) is %s', (path, open) => {
  expect(isOpenPath(path, { guardsTraffic: false })).toBe(open)
})

test('a preflight needs no key and is answered for any origin', async () => {
  const { status, headers, text } = await open(KEY).call('OPTIONS', '/v1/sandboxes', undefined, {
    origin: 'https://app.example',
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'x-a, x-b',
  })
  expect([status, text]).toEqual([200, 'OK'])
  expect(headers.get('access-control-allow-origin')).toBe('https://app.example')
  expect(headers.get('access-control-allow-credentials')).toBe('true')
  expect(headers.get('access-control-allow-headers')).toBe('x-a, x-b')
  expect(headers.get('access-control-max-age')).toBe('600')
})

test('with a key, answers and refusals carry the origin back', async () => {
  const control = open(KEY)
  const refused = await control.call('GET', '/sandboxes', undefined, { origin: 'https://app.example' })
  expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([
    401,
    'https://app.example',
  ])
  const plain = await control.call('GET', '/sandboxes', undefined, { 'open-sandbox-api-key': KEY })
  expect([plain.status, plain.headers.get('vary'), plain.headers.get('access-control-allow-origin')]).toEqual(
    [200, 'Origin', null],
  )
})

test('S20: where origins are named, pages of others are not answered, by preflights or otherwise', async () => {
  const control = createControlApp({
    access: { apiKey: KEY },
    settings: { corsOrigins: ['https://console.example'] },
  })
  onTestFinished(control.close)
  const preflight = { 'access-control-request-method': 'POST' }
  const ask = (method: string, origin: string, headers: Record<string, string>) =>
    control.call(method, '/v1/sandboxes', undefined, { origin, ...headers })
  const allowed = await ask('OPTIONS', 'https://console.example', preflight)
  expect([allowed.status, allowed.headers.get('access-control-allow-origin')]).toEqual([
    200,
    'https://console.example',
  ])
  for (const origin of ['https://evil.example', 'https://console.example.evil.example', 'null']) {
    const refused = await ask('OPTIONS', origin, preflight)
    expect([refused.status, refused.body.code]).toEqual([403, 'GENERAL::ORIGIN_NOT_ALLOWED'])
    const answered = await ask('GET', origin, { 'open-sandbox-api-key': KEY })
    for (const { headers } of [refused, answered]) {
      expect(headers.get('access-control-allow-origin')).toBeNull()
      expect(headers.get('access-control-allow-credentials')).toBeNull()
    }
    expect(answered.headers.get('vary')).toBe('Origin')
  }
})

test.each([
  ['https://evil.example', 'localhost:8080', 403],
  ['null', 'localhost:8080', 403],
  ['http://localhost:3000', 'localhost:8080', 403],
  ['http://abc-3000.localhost:8080', 'localhost:8080', 403],
  ['http://localhost:8080', 'localhost:8080', 200],
  ['http://127.0.0.1:8080', '127.0.0.1:8080', 200],
  [undefined, 'evil.example', 403],
  [undefined, 'evil.example:8080', 403],
  [undefined, '127.0.0.1.evil.example', 403],
  [undefined, '[::1]:8080', 200],
  [undefined, 'LOCALHOST', 200],
])('without a key, Origin %s at Host %s is %i', async (origin, host, status) => {
  const control = open()
  const answer = await control.call('GET', '/v1/sandboxes', undefined, { host, ...(origin && { origin }) })
  expect(answer.status).toBe(status)
  expect(answer.headers.get('access-control-allow-origin')).toBeNull()
})

test('what a gateway says of the host counts on its own socket only', async () => {
  const forged = { host: 'localhost', 'x-forwarded-host': 'evil.example' }
  expect((await open().call('GET', '/sandboxes', undefined, forged)).status).toBe(200)
  const behind = createControlApp({ trustForwarded: true })
  onTestFinished(behind.close)
  expect((await behind.call('GET', '/sandboxes', undefined, forged)).status).toBe(403)
  const made = await behind.call('POST', '/sandboxes', MINIMAL)
  const named = { host: 'control', 'x-forwarded-host': '127.0.0.1:8080' }
  const { body } = await behind.call(
    'GET',
    `/sandboxes/${String(made.body.id)}/endpoints/80`,
    undefined,
    named,
  )
  expect(body.endpoint).toBe(`127.0.0.1:8080/sandboxes/${String(made.body.id)}/proxy/80`)
})

test('of who a gateway says has asked, the client is written down, and not a proxy before the gateway', async () => {
  const behind = createControlApp({ trustForwarded: true })
  onTestFinished(behind.close)
  const from = { host: 'localhost', 'x-forwarded-for': '203.0.113.7, 10.0.0.2' }
  expect((await behind.call('POST', '/sandboxes', MINIMAL, from)).status).toBe(202)
  const { body } = await behind.call('GET', '/admin/audit')
  expect(body.items).toMatchObject([{ client: '203.0.113.7' }])
})

test.each([
  ['localhost', true],
  ['localhost.', true],
  ['127.1.2.3:99', true],
  ['10.0.0.1', false],
  ['x.localhost', false],
  ['', false],
])('isLocalHost(%s) is %s', (host, local) => {
  expect(isLocalHost(host)).toBe(local)
})
