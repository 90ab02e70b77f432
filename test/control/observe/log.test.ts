// Lines of the log: each that belongs to a request says which, one says how it went, none gives a secret away.

import { expect, onTestFinished, test } from 'vitest'
import { RuntimeError } from '../../../control/runtime/runtime.ts'
import { createLogger, type LogLevel } from '../../../lib/log.ts'
import {
  type ControlApp,
  type ControlAppOptions,
  createControlApp,
  MINIMAL,
} from '../../support/control-app.ts'

function open(options: ControlAppOptions = {}, level: LogLevel = 'debug'): ControlApp & { lines: string[] } {
  const lines: string[] = []
  const control = createControlApp({
    ...options,
    log: createLogger({
      program: 'control',
      level,
      write: (line) => lines.push(line.replace(/^\S+ /, '').trimEnd()),
    }),
  })
  onTestFinished(() => control.close())
  return { ...control, lines }
}

const withId = (id: string) => ({ 'X-Request-ID': id })

test.each([
  ['a plain one', 'abc-123'],
  ['a UUID', '0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0'],
  ['the longest', 'x'.repeat(128)],
])('S23: the request id of a caller is taken and given back: %s', async (_what, id) => {
  const control = open()
  const { headers } = await control.call('GET', '/health', undefined, withId(id))
  expect(headers.get('x-request-id')).toBe(id)
  expect(control.lines.at(-1)).toContain(`requestId=${id}`)
})

test.each([
  ['too long', 'x'.repeat(129)],
  ['with a blank', 'a b'],
  ['with what could end a line', 'a%0Ab"; level=error'],
  ['not ASCII', 'é'],
  ['empty', ''],
])('S23: one that is %s is replaced by our own', async (_what, id) => {
  const control = open()
  const { headers } = await control.call('GET', '/health', undefined, withId(id))
  expect(headers.get('x-request-id')).toMatch(/^[0-9a-f]{32}$/)
  expect(control.lines.join('\n')).not.toContain('level=error')
})

test('S23: errors of every kind have it too', async () => {
  const control = open({ access: { apiKey: 'k' } })
  const key = { 'OPEN-SANDBOX-API-KEY': 'k' }
  for (const [method, path, headers, status] of [
    ['GET', '/v1/sandboxes', {}, 401],
    ['GET', '/v1/nothing', key, 404],
    ['PUT', '/v1/sandboxes', key, 405],
    ['POST', '/v1/sandboxes', key, 422],
  ] as const) {
    const answer = await control.call(method, path, undefined, { ...headers, ...withId(`r-${status}`) })
    expect([answer.status, answer.headers.get('x-request-id')]).toEqual([status, `r-${status}`])
  }
})

test('L7: every error has a code and a message, and nothing else of ours has another form', async () => {
  const control = open({ access: { apiKey: 'k' } })
  const key = { 'OPEN-SANDBOX-API-KEY': 'k' }
  control.lives.store.list = () => {
    throw new Error('a fault')
  }
  for (const [method, path, body, headers, status] of [
    ['GET', '/v1/sandboxes/x', undefined, {}, 401],
    ['GET', '/v1/sandboxes/x', undefined, key, 404],
    ['GET', '/nothing', undefined, key, 404],
    ['PUT', '/v1/sandboxes', {}, key, 405],
    ['POST', '/v1/sandboxes', '{', key, 422],
    ['POST', '/v1/sandboxes', {}, key, 422],
    ['GET', '/v1/sandboxes', undefined, key, 500],
  ] as const) {
    const answer = await control.call(method, path, body, headers)
    expect(answer.status, path).toBe(status)
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
    expect(answer.body).toMatchObject({
      code: expect.stringMatching(/^\w/),
      message: expect.stringMatching(/\w/),
    })
  }
})

test('every line that belongs to a request has its id, what it goes on doing after its answer too', async () => {
  const started = Promise.withResolvers<void>()
  const control = open({ life: { createAnswerMs: 1 } })
  control.runtime.before = async (call) => {
    if (call !== 'create') return
    await started.promise
    throw new RuntimeError('start_failed', 'It does not start')
  }
  const { status } = await control.call('POST', '/v1/sandboxes', MINIMAL, withId('r-create'))
  expect(status).toBe(202)
  const other = control.call('GET', '/v1/sandboxes', undefined, withId('r-list'))
  started.resolve()
  await other
  await expect.poll(() => control.lines.join('\n')).toContain('sandbox could not be started')
  const late = control.lines.find((line) => line.includes('sandbox could not be started'))
  expect(late).toMatch(/ requestId=r-create$/)
  expect(control.lines.filter((line) => !/ requestId=r-(create|list)$/.test(line))).toEqual([])
})

test('each request has one line of its own: at info when it changes something, at debug when it only reads', async () => {
  const control = open()
  const { body } = await control.call('POST', '/v1/sandboxes', MINIMAL)
  await control.call('GET', `/v1/sandboxes/${body.id}?state=x`)
  await control.call('DELETE', '/v1/sandboxes/unknown')
  await control.call('GET', '/v1/sandboxes/unknown/proxy/80/some/secret?token=x')
  await control.call('GET', '/nothing')
  const access = control.lines.filter((line) => /^\w+ control request /.test(line))
  const shown = access.map((line) =>
    line
      .replace(/ ms=[\d.]+/, '')
      .replace(/ requestId=\w{32}$/, '')
      .replaceAll(String(body.id), '{id}'),
  )
  expect(control.lines.join('\n')).not.toContain('some/secret')
  expect(shown).toEqual([
    'info control request method=POST path=/v1/sandboxes route=/v1/sandboxes status=202 by=local',
    'debug control request method=GET path=/v1/sandboxes/{id} route=/v1/sandboxes/:id status=200 by=local',
    'info control request method=DELETE path=/v1/sandboxes/unknown route=/v1/sandboxes/:id status=404 by=local',
    'debug control request method=GET path=/v1/sandboxes/unknown/proxy/80 route=/v1/sandboxes/:id/proxy/:port/* status=404 by=local',
    'debug control request method=GET path=/nothing route=(none) status=404 by=local',
  ])
})

test('a fault of this program is answered 500 with nothing of it, and told in the log under the request', async () => {
  const control = open({}, 'info')
  control.lives.store.list = () => {
    throw new Error('no such table: http://10.0.0.1/secret')
  }
  const { status, text } = await control.call('GET', '/v1/sandboxes', undefined, withId('r-fault'))
  expect(status).toBe(500)
  expect(text).toContain('r-fault')
  expect(text).not.toContain('10.0.0.1')
  expect(control.lines).toEqual([
    expect.stringMatching(/^error control a request failed by a fault .*no such table.* requestId=r-fault$/),
    expect.stringMatching(/^info control request method=GET .* status=500 .* requestId=r-fault$/),
  ])
})

test('S24: what a runtime says of its insides stays in the log', async () => {
  const control = open()
  control.runtime.before = () => {
    throw new Error('POST unix:///var/run/runtime.sock/containers/4f2a at 172.17.0.2 failed')
  }
  const { status, text } = await control.call('POST', '/v1/sandboxes', MINIMAL, withId('r-inside'))
  expect(status).toBe(500)
  expect(text).not.toMatch(/unix:|4f2a|172\.17/)
  expect(control.lines.join('\n')).toMatch(/refused .*172\.17\.0\.2.* requestId=r-inside/)
})

test('no line has a secret: not of keys, of images, of sandboxes, of tokens, of what is wrong', async () => {
  const secrets = {
    apiKey: 'canary-api-key',
    wrongKey: 'canary-wrong-key',
    password: 'canary-password',
    variable: 'canary-variable',
    token: 'canary-metrics-token',
    query: 'canary-query',
    bearer: 'canary-bearer',
  }
  const control = open({ access: { apiKey: secrets.apiKey }, settings: { metricsToken: secrets.token } })
  const key = { 'OPEN-SANDBOX-API-KEY': secrets.apiKey }
  const create = {
    ...MINIMAL,
    image: { uri: 'registry.example/a', auth: { username: 'u', password: secrets.password } },
    env: { SECRET: secrets.variable },
  }
  const { body } = await control.call('POST', '/v1/sandboxes', create, key)
  const { execdToken, egressToken } = control.store.get(String(body.id)) ?? {}
  await control.call('GET', `/v1/sandboxes/${body.id}/endpoints/44772`, undefined, key)
  await control.call('GET', `/v1/sandboxes/${body.id}/diagnostics/summary`, undefined, key)
  await control.call('POST', '/v1/sandboxes', { ...create, timeout: 'soon' }, key)
  await control.call('POST', '/v1/sandboxes', `{"env": "${secrets.variable}`, key)
  const made = await control.call('POST', '/v1/admin/keys', { name: 'ci' }, key)
  await control.call('GET', '/v1/sandboxes', undefined, { 'OPEN-SANDBOX-API-KEY': secrets.wrongKey })
  await control.call('GET', `/v1/sandboxes?metadata=${secrets.query}&page=${secrets.query}`, undefined, key)
  await control.call('GET', '/metrics', undefined, { Authorization: `Bearer ${secrets.token}` })
  await control.call('GET', '/metrics', undefined, { Authorization: `Bearer ${secrets.bearer}` })
  control.runtime.before = () => {
    throw new RuntimeError('image_pull_failed', 'The registry refused')
  }
  await control.call('POST', '/v1/sandboxes', create, key)
  const text = control.lines.join('\n')
  expect(control.lines.length).toBeGreaterThan(12)
  for (const secret of [...Object.values(secrets), execdToken, egressToken, String(made.body.key)]) {
    expect(secret).toBeTruthy()
    expect(text).not.toContain(secret)
  }
})

test('S14: diagnostics of a sandbox name no token and no variable', async () => {
  const control = open()
  const { body } = await control.call('POST', '/v1/sandboxes', {
    ...MINIMAL,
    env: { DATABASE_URL: 'postgres://u:canary@db' },
  })
  const { execdToken = '', egressToken = '' } = control.store.get(String(body.id)) ?? {}
  for (const view of ['inspect', 'summary', 'logs', 'events']) {
    const { status, text } = await control.call('GET', `/v1/sandboxes/${body.id}/diagnostics/${view}`)
    expect(status, view).toBe(200)
    for (const secret of [execdToken, egressToken, 'canary']) expect(text, view).not.toContain(secret)
  }
})
