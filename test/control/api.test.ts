import { expect, onTestFinished, test } from 'vitest'
import { RuntimeError, type RuntimeFailure } from '../../control/runtime/runtime.ts'
import { recordExit } from '../../control/sandbox/reconcile.ts'
import { type ControlApp, type ControlAppOptions, createControlApp, MINIMAL } from '../support/control-app.ts'

function open(options: ControlAppOptions = {}): ControlApp {
  const control = createControlApp(options)
  onTestFinished(control.close)
  return control
}

async function make(control: ControlApp, more: Record<string, unknown> = {}): Promise<string> {
  const { status, body } = await control.call('POST', '/v1/sandboxes', { ...MINIMAL, ...more })
  expect(status).toBe(202)
  return String(body.id)
}

const UNKNOWN = 'aaaaaaaaaaaaaaaa'

test('create answers what was asked, running, with a place to read it', async () => {
  const control = open()
  const { status, headers, body } = await control.call('POST', '/v1/sandboxes', {
    ...MINIMAL,
    timeout: 60,
    metadata: { team: 'a' },
    platform: { os: 'linux', arch: 'amd64' },
  })
  expect(status).toBe(202)
  expect(headers.get('location')).toBe(`/v1/sandboxes/${String(body.id)}`)
  expect(body).toEqual({
    id: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
    status: { state: 'Running', reason: 'CONTAINER_RUNNING', lastTransitionAt: expect.any(String) },
    metadata: { team: 'a' },
    platform: { os: 'linux', arch: 'amd64' },
    createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}000)?Z$/),
    expiresAt: expect.any(String),
    entrypoint: ['sleep', '1000'],
  })
  expect(Date.parse(String(body.expiresAt)) - Date.parse(String(body.createdAt))).toBe(60_000)
  const read = await control.call('GET', `/sandboxes/${String(body.id)}`)
  expect(read.body).toEqual({ ...body, image: { uri: 'debian' } })
})

test('a sandbox without timeout has no expiresAt and cannot be given one', async () => {
  const control = open()
  const id = await make(control)
  expect((await control.call('GET', `/sandboxes/${id}`)).body).not.toHaveProperty('expiresAt')
  const renewed = await control.call('POST', `/sandboxes/${id}/renew-expiration`, { expiresAt: '2099-01-01' })
  expect([renewed.status, renewed.body.code]).toEqual([409, 'DOCKER::INVALID_EXPIRATION'])
})

test.each<[RuntimeFailure, number, string]>([
  ['image_not_found', 400, 'DOCKER::SANDBOX_IMAGE_PULL_FAILED'],
  ['image_denied', 400, 'DOCKER::SANDBOX_IMAGE_PULL_FAILED'],
  ['registry_failed', 502, 'DOCKER::SANDBOX_IMAGE_PULL_FAILED'],
  ['image_pull_failed', 500, 'DOCKER::SANDBOX_IMAGE_PULL_FAILED'],
  ['platform_mismatch', 400, 'SANDBOX::INVALID_PARAMETER'],
  ['entrypoint_failed', 400, 'DOCKER::INVALID_ENTRYPOINT'],
  ['hook_failed', 400, 'DOCKER::SANDBOX_START_FAILED'],
  ['start_failed', 500, 'DOCKER::SANDBOX_START_FAILED'],
  ['no_space', 500, 'DOCKER::SANDBOX_START_FAILED'],
])('create that fails with %s answers %i and leaves nothing', async (failure, status, code) => {
  const control = open()
  control.runtime.before = (call) => {
    if (call === 'create') throw new RuntimeError(failure, `told by the runtime: ${failure}`)
  }
  const answer = await control.call('POST', '/sandboxes', MINIMAL)
  expect([answer.status, answer.body.code]).toEqual([status, code])
  expect(answer.body.message).toContain(failure)
  expect(control.store.all()).toEqual([])
  expect(control.runtime.sandboxes.size).toBe(0)
})

test('a fault of the runtime answers 500 without its inner words', async () => {
  const control = open()
  control.runtime.before = () => {
    throw new Error('ENOENT /secret/path')
  }
  const answer = await control.call('POST', '/sandboxes', MINIMAL)
  expect([answer.status, answer.body.code]).toEqual([500, 'DOCKER::SANDBOX_START_FAILED'])
  expect(answer.text).not.toContain('secret')
})

test.each([
  ['GET', ''],
  ['DELETE', ''],
  ['POST', '/pause'],
  ['POST', '/resume'],
  ['GET', '/endpoints/44772'],
  ['GET', '/networkpolicy'],
  ['GET', '/diagnostics/logs'],
  ['GET', '/diagnostics/events'],
  ['GET', '/diagnostics/inspect'],
  ['GET', '/diagnostics/summary'],
  ['POST', '/snapshots'],
])('%s %s of an unknown sandbox is 404 with the code that clients know', async (method, path) => {
  const control = open()
  for (const prefix of ['', '/v1']) {
    const { status, body } = await control.call(method, `${prefix}/sandboxes/${UNKNOWN}${path}`)
    expect([status, body.code]).toEqual([404, 'DOCKER::SANDBOX_NOT_FOUND'])
  }
})

test.each(['..', '%2e%2e', 'a%2Fb', '%00', 'A'.repeat(5000), "';drop table sandboxes;--", '%zz'])(
  'an id of another shape is simply not found: %s',
  async (id) => {
    const control = open()
    const { status, body } = await control.call('GET', `/v1/sandboxes/${encodeURI(id)}x`)
    expect([status, typeof body.code, typeof body.message]).toEqual([404, 'string', 'string'])
  },
)

test('delete answers 204 once, then 404, and nothing is left', async () => {
  const control = open()
  const id = await make(control)
  expect((await control.call('DELETE', `/v1/sandboxes/${id}`)).status).toBe(204)
  expect(control.runtime.sandboxes.size).toBe(0)
  expect(control.store.all()).toEqual([])
  expect((await control.call('DELETE', `/v1/sandboxes/${id}`)).status).toBe(404)
  expect((await control.call('GET', `/v1/sandboxes/${id}`)).status).toBe(404)
})

test('pause and resume answer 202 with an empty body of known length, in the right states only', async () => {
  const control = open()
  const id = await make(control)
  const state = async () =>
    ((await control.call('GET', `/sandboxes/${id}`)).body.status as { state: string }).state
  const resumeEarly = await control.call('POST', `/sandboxes/${id}/resume`)
  expect([resumeEarly.status, resumeEarly.body.code]).toEqual([409, 'DOCKER::SANDBOX_NOT_PAUSED'])
  const paused = await control.call('POST', `/sandboxes/${id}/pause`)
  expect([paused.status, paused.headers.get('content-length'), paused.text]).toEqual([202, '0', ''])
  expect(await state()).toBe('Paused')
  const again = await control.call('POST', `/sandboxes/${id}/pause`)
  expect([again.status, again.body.code]).toEqual([409, 'DOCKER::SANDBOX_NOT_RUNNING'])
  expect((await control.call('POST', `/sandboxes/${id}/resume`)).status).toBe(202)
  expect(await state()).toBe('Running')
  expect((await control.call('DELETE', `/sandboxes/${id}`)).status).toBe(204)
})

test('a pause that fails leaves the sandbox running and says so', async () => {
  const control = open()
  const id = await make(control)
  control.runtime.before = (call) => {
    if (call === 'pause') throw new Error('frozen fingers')
  }
  const { status, body } = await control.call('POST', `/sandboxes/${id}/pause`)
  expect([status, body.code]).toEqual([500, 'DOCKER::SANDBOX_PAUSE_FAILED'])
  expect((await control.call('GET', `/sandboxes/${id}`)).body.status).toMatchObject({ state: 'Running' })
})

test.each([
  ['2099-01-01T00:00:00Z', '2099-01-01T00:00:00Z'],
  ['2099-01-01T00:00:00.123456+02:00', '2098-12-31T22:00:00.123000Z'],
  ['2099-01-01T00:00:00.123456789', '2099-01-01T00:00:00.123000Z'],
  ['2099-01-01', '2099-01-01T00:00:00Z'],
  [4_070_908_800, '2099-01-01T00:00:00Z'],
  ['4070908800', '2099-01-01T00:00:00Z'],
  [4_070_908_800_000, '2099-01-01T00:00:00Z'],
])('renew takes %s', async (expiresAt, normal) => {
  const control = open()
  const id = await make(control, { timeout: 60 })
  const { status, body } = await control.call('POST', `/sandboxes/${id}/renew-expiration`, { expiresAt })
  expect([status, body]).toEqual([200, { expiresAt: normal }])
  expect((await control.call('GET', `/sandboxes/${id}`)).body.expiresAt).toBe(normal)
})

test.each([
  ['2020-01-01T00:00:00Z', 400, 'DOCKER::INVALID_EXPIRATION'],
  [0, 400, 'DOCKER::INVALID_EXPIRATION'],
  ['2099-02-30', 422, 'GENERAL::INVALID_REQUEST'],
  ['2099-01-01T25:00:00Z', 422, 'GENERAL::INVALID_REQUEST'],
  ['tomorrow', 422, 'GENERAL::INVALID_REQUEST'],
  ['', 422, 'GENERAL::INVALID_REQUEST'],
  [null, 422, 'GENERAL::INVALID_REQUEST'],
  [true, 422, 'GENERAL::INVALID_REQUEST'],
  [1e300, 422, 'GENERAL::INVALID_REQUEST'],
])('renew refuses %s', async (expiresAt, status, code) => {
  const control = open()
  const id = await make(control, { timeout: 60 })
  const answer = await control.call('POST', `/sandboxes/${id}/renew-expiration`, { expiresAt })
  expect([answer.status, answer.body.code]).toEqual([status, code])
})

test('renew may shorten, and is 404 before it is 400', async () => {
  const control = open()
  const id = await make(control, { timeout: 6000 })
  const soon = new Date(Date.now() + 90_000).toISOString()
  expect((await control.call('POST', `/sandboxes/${id}/renew-expiration`, { expiresAt: soon })).status).toBe(
    200,
  )
  const unknown = await control.call('POST', `/sandboxes/${UNKNOWN}/renew-expiration`, {
    expiresAt: '2020-01-01',
  })
  expect(unknown.status).toBe(404)
})

test('a metadata patch sets, removes and keeps', async () => {
  const control = open()
  const id = await make(control, { metadata: { keep: '1', drop: '2', change: '3' } })
  const path = `/v1/sandboxes/${id}/metadata`
  const patched = await control.call('PATCH', path, {
    drop: null,
    change: 'x',
    'a.b/new': '',
    'not there': null,
  })
  expect([patched.status, patched.body.metadata]).toEqual([200, { keep: '1', change: 'x', 'a.b/new': '' }])
  expect((await control.call('PATCH', path, {})).body.metadata).toEqual(patched.body.metadata)
  const cleared = await control.call('PATCH', path, { keep: null, change: null, 'a.b/new': null })
  expect(cleared.body).not.toHaveProperty('metadata')
})

test.each([
  [{ 'opensandbox.io/x': null }, 400, 'INVALID_METADATA_LABEL'],
  [{ 'opensandbox.io/x': 'y' }, 400, 'INVALID_METADATA_LABEL'],
  [{ 'bad key': 'y' }, 400, 'SANDBOX::INVALID_METADATA_LABEL'],
  [{ a: 1 }, 422, 'GENERAL::INVALID_REQUEST'],
  [['a'], 422, 'GENERAL::INVALID_REQUEST'],
  ['a', 422, 'GENERAL::INVALID_REQUEST'],
])('a metadata patch of %j is refused and changes nothing', async (patch, status, code) => {
  const control = open()
  const id = await make(control, { metadata: { a: 'b' } })
  const answer = await control.call('PATCH', `/sandboxes/${id}/metadata`, JSON.stringify(patch))
  expect([answer.status, answer.body.code]).toEqual([status, code])
  expect((await control.call('GET', `/sandboxes/${id}`)).body.metadata).toEqual({ a: 'b' })
})

test('many patches at once lose no update', async () => {
  const control = open()
  const id = await make(control)
  const keys = Array.from({ length: 20 }, (_, index) => `k${index}`)
  await Promise.all(keys.map((key) => control.call('PATCH', `/sandboxes/${id}/metadata`, { [key]: 'v' })))
  expect(Object.keys((await control.call('GET', `/sandboxes/${id}`)).body.metadata ?? {}).sort()).toEqual(
    keys.sort(),
  )
})

test('endpoints name a path that any client can use, and the secrets of our own two ports', async () => {
  const control = open()
  const id = await make(control)
  const { execdToken, egressToken } = control.store.get(id) ?? {}
  const ask = async (path: string, headers = {}) =>
    (await control.call('GET', `/v1/sandboxes/${id}/endpoints/${path}`, undefined, headers)).body
  expect(await ask('44772')).toEqual({
    endpoint: `localhost:8080/sandboxes/${id}/proxy/44772`,
    headers: { 'X-EXECD-ACCESS-TOKEN': execdToken },
  })
  expect(await ask('18080')).toEqual({
    endpoint: `localhost:8080/sandboxes/${id}/proxy/18080`,
    headers: { 'OPENSANDBOX-EGRESS-AUTH': egressToken },
  })
  expect(await ask('3000', { host: '127.0.0.1:9' })).toEqual({
    endpoint: `127.0.0.1:9/sandboxes/${id}/proxy/3000`,
  })
  expect(await ask('3000?use_server_proxy=true')).toEqual({
    endpoint: `localhost:8080/v1/sandboxes/${id}/proxy/3000`,
  })
  const bare = await control.call('GET', `/sandboxes/${id}/endpoints/3000?use_server_proxy=1`)
  expect(bare.body).toEqual({ endpoint: `localhost:8080/sandboxes/${id}/proxy/3000` })
})

test.each([
  ['OpenSandbox-Kotlin-SDK/1.0.0', true],
  ['OpenSandbox-Kotlin-SDK/1.0.12', false],
  ['OpenSandbox-Kotlin-SDK/1.0.0.1', false],
  ['OpenSandbox-Python-SDK/1.1.1', false],
])(
  'a client that sends no headers of endpoints has the token in the address: %s: %s',
  async (agent, isInPath) => {
    const control = open()
    const id = await make(control)
    const ask = async (port: number) =>
      (await control.call('GET', `/sandboxes/${id}/endpoints/${port}`, undefined, { 'user-agent': agent }))
        .body.endpoint
    const token = control.store.get(id)?.execdToken
    const base = `localhost:8080/sandboxes/${id}/proxy`
    expect(await ask(44772)).toBe(isInPath ? `${base}/44772/-/${token}` : `${base}/44772`)
    // The policy's secret is none of its concern, and programs of the user have none.
    expect(await ask(18080)).toBe(`${base}/18080`)
    expect(await ask(3000)).toBe(`${base}/3000`)
  },
)

test('a key that only reads is given the addresses of our two ports, and not what opens them', async () => {
  const control = open({ access: { apiKey: 'k' } })
  const operator = { 'open-sandbox-api-key': 'k' }
  const made = await control.call('POST', '/sandboxes', MINIMAL, operator)
  const reader = await control.call('POST', '/v1/admin/keys', { name: 'reader', role: 'read-only' }, operator)
  for (const agent of ['any', 'OpenSandbox-Kotlin-SDK/1.0.0'])
    for (const port of [44772, 18080]) {
      const path = `/sandboxes/${String(made.body.id)}/endpoints/${port}`
      const headers = { 'open-sandbox-api-key': String(reader.body.key), 'user-agent': agent }
      expect((await control.call('GET', path, undefined, headers)).body).toEqual({
        endpoint: `localhost:8080/sandboxes/${String(made.body.id)}/proxy/${port}`,
      })
      expect((await control.call('GET', path, undefined, operator)).body).toHaveProperty('headers')
    }
})

test('endpoints follow the configured base and the wildcard domain', async () => {
  const based = open({ settings: { eip: 'edge.example/base' } })
  const id = await make(based)
  const host = { host: 'edge.example' }
  expect((await based.call('GET', `/sandboxes/${id}/endpoints/80`, undefined, host)).body.endpoint).toBe(
    `edge.example/base/sandboxes/${id}/proxy/80`,
  )
  const wild = open({ settings: { domain: 'box.example' }, access: { apiKey: 'k' } })
  const key = { 'open-sandbox-api-key': 'k', host: 'api.box.example:8443' }
  const made = await wild.call('POST', '/sandboxes', MINIMAL, key)
  const other = String(made.body.id)
  const ask = async (query: string) =>
    (await wild.call('GET', `/sandboxes/${other}/endpoints/80${query}`, undefined, key)).body.endpoint
  expect(await ask('')).toBe(`${other}-80.box.example:8443`)
  expect(await ask('?use_server_proxy=true')).toBe(`api.box.example:8443/sandboxes/${other}/proxy/80`)
})

test.each([
  ['0', 400, 'DOCKER::INVALID_PORT'],
  ['65536', 400, 'DOCKER::INVALID_PORT'],
  ['-1', 400, 'DOCKER::INVALID_PORT'],
  ['x', 422, 'GENERAL::INVALID_REQUEST'],
  ['80.5', 422, 'GENERAL::INVALID_REQUEST'],
  ['80?expires=5', 400, 'SANDBOX::API_NOT_SUPPORTED'],
  ['80?expires=', 422, 'GENERAL::INVALID_REQUEST'],
  ['80?expires=5&use_server_proxy=true', 400, 'SANDBOX::INVALID_PARAMETER'],
  ['80?use_server_proxy=maybe', 422, 'GENERAL::INVALID_REQUEST'],
])('endpoint %s is refused', async (path, status, code) => {
  const control = open()
  const id = await make(control)
  const answer = await control.call('GET', `/sandboxes/${id}/endpoints/${path}`)
  expect([answer.status, answer.body.code]).toEqual([status, code])
})

test("the network policy goes to egress with the sandbox's own secret, and comes back as it is", async () => {
  const asked: unknown[] = []
  const control = open({
    askEgress: async ({ id, method, token, body }) => {
      asked.push([id, method, token, body && Buffer.from(body).toString()])
      return { status: 200, contentType: 'application/json', body: Buffer.from('{"status":"ok"}\n') }
    },
  })
  const id = await make(control)
  const token = control.store.get(id)?.egressToken
  const path = `/v1/sandboxes/${id}/networkpolicy`
  const forged = { 'opensandbox-egress-auth': 'forged' }
  for (const [method, body] of [
    ['GET'],
    ['PUT', '{"egress":[]}'],
    ['PATCH', '[]'],
    ['DELETE', '["a.com"]'],
  ] as const) {
    const answer = await control.call(method, path, body, forged)
    expect([answer.status, answer.text]).toEqual([200, '{"status":"ok"}\n'])
    expect(answer.headers.get('x-request-id')).toBeTruthy()
  }
  expect(asked).toEqual([
    [id, 'GET', token, undefined],
    [id, 'PUT', token, '{"egress":[]}'],
    [id, 'PATCH', token, '[]'],
    [id, 'DELETE', token, '["a.com"]'],
  ])
  expect((await control.call('DELETE', path)).status).toBe(422)
  const posted = await control.call('POST', path, '{}')
  expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD, PUT, PATCH, DELETE'])
})

test('the network policy answers an envelope when egress refuses in plain text, knows nothing, or is away', async () => {
  let answer = { status: 400, contentType: 'text/plain', body: Buffer.from('rule 1: bad target\n') }
  let isAway = false
  const control = open({
    askEgress: async () => {
      if (isAway) throw new Error('connect ECONNREFUSED /run/x.sock')
      return answer
    },
  })
  const id = await make(control)
  const ask = () => control.call('GET', `/sandboxes/${id}/networkpolicy`)
  expect((await ask()).body.message).toBe('rule 1: bad target')
  answer = { ...answer, status: 404 }
  expect((await ask()).status).toBe(409)
  isAway = true
  const away = await ask()
  expect([away.status, away.body.code]).toEqual([502, 'BACKEND_CONNECTION_FAILED'])
  expect(away.text).not.toContain('sock')
})

test.each<[string, string, unknown, number, string]>([
  ['GET', '/snapshots/s', undefined, 404, 'SNAPSHOT::NOT_FOUND'],
  ['DELETE', '/snapshots/s', undefined, 404, 'SNAPSHOT::NOT_FOUND'],
  ['GET', '/snapshots?page=0', undefined, 422, 'GENERAL::INVALID_REQUEST'],
])("what there is none of has the contract's answer: %s %s %j", async (method, path, body, status, code) => {
  const control = open()
  for (const prefix of ['', '/v1']) {
    const answer = await control.call(method, `${prefix}${path}`, body)
    expect([answer.status, answer.body.code]).toEqual([status, code])
  }
})

test('diagnostics show the last lines of the output, also of a sandbox that is gone', async () => {
  const control = open()
  const id = await make(control)
  const path = `/v1/sandboxes/${id}/diagnostics/logs`
  expect((await control.call('GET', path)).text).toBe('(no logs)\n')
  control.runtime.output.set(id, Buffer.from('one\ntwo ü\nthree\n'))
  for (const gone of [false, true]) {
    if (gone) await control.call('DELETE', `/sandboxes/${id}`)
    const text = await control.call('GET', `${path}?tail=2`)
    expect([text.text, text.headers.get('deprecation')]).toEqual(['two ü\nthree\n', 'true'])
    expect((await control.call('GET', `${path}?scope=container&tail=2`)).body).toEqual({
      sandboxId: id,
      kind: 'logs',
      scope: 'container',
      delivery: 'inline',
      contentType: 'text/plain; charset=utf-8',
      content: 'two ü\nthree\n',
      contentLength: 13,
      truncated: true,
    })
    const all = await control.call('GET', `${path}?scope=all`)
    expect(all.body).toMatchObject({ content: 'one\ntwo ü\nthree\n', truncated: false, warnings: [] })
  }
  expect((await control.call('GET', `/v1/sandboxes/${id}/diagnostics/events`)).text).toContain('Stopping')
})

test('the failure of an entrypoint is told with what it printed last', async () => {
  const control = open()
  const id = await make(control)
  control.runtime.output.set(id, Buffer.from('\u001b[31mTraceback\u001b[0m\r\n\nImportError: no module\n'))
  control.runtime.exit(id, 3)
  await recordExit(control.lives, { id, state: 'exited', exitCode: 3 })
  const { body } = await control.call('GET', `/sandboxes/${id}`)
  expect(body.status).toMatchObject({
    state: 'Failed',
    reason: 'CONTAINER_EXITED_ERROR',
    message: 'The entrypoint ended with code 3. Its last output: Traceback | ImportError: no module',
  })
})

test('diagnostics tell the history without secrets, as text and as JSON', async () => {
  const control = open()
  const id = await make(control)
  await control.call('POST', `/sandboxes/${id}/pause`)
  const path = `/v1/sandboxes/${id}/diagnostics`
  const text = await control.call('GET', `${path}/events`)
  expect(text.headers.get('deprecation')).toBe('true')
  expect(text.text.split('\n').map((line) => line.split(' ')[1])).toEqual([
    'Pending',
    'Running',
    'Pausing',
    'Paused',
    undefined,
  ])
  const json = await control.call('GET', `${path}/events?scope=%20Runtime`)
  expect(json.body).toMatchObject({
    sandboxId: id,
    kind: 'events',
    scope: 'runtime',
    delivery: 'inline',
    truncated: false,
  })
  expect(json.body.contentLength).toBe(Buffer.byteLength(String(json.body.content)))
  expect((await control.call('GET', `${path}/events?scope=all&limit=2`)).body.truncated).toBe(true)
  const row = control.store.get(id)
  for (const kind of ['inspect', 'summary']) {
    const { status, text: facts } = await control.call('GET', `${path}/${kind}`)
    expect(status).toBe(200)
    expect(facts).toContain('Paused')
    expect(facts).not.toContain(row?.execdToken)
    expect(facts).not.toContain(row?.egressToken)
  }
  for (const [query, status, code] of [
    ['logs?tail=10001', 422, 'GENERAL::INVALID_REQUEST'],
    ['logs?scope=', 400, 'DIAGNOSTICS_SCOPE_UNSUPPORTED'],
    ['events?scope=network', 400, 'DIAGNOSTICS_SCOPE_UNSUPPORTED'],
    ['events?limit=501', 422, 'GENERAL::INVALID_REQUEST'],
  ] as const) {
    const answer = await control.call('GET', `${path}/${query}`)
    expect([answer.status, answer.body.code]).toEqual([status, code])
  }
})

test.each([
  [
    {
      eventType: 'sandbox.create',
      createDurationMs: 812,
      success: true,
      sandboxId: 'x',
      image: 'y',
      more: 1,
    },
    204,
  ],
  [{ eventType: 'sandbox.create', createDurationMs: -1, success: true }, 422],
  [{ eventType: 'sandbox.create', createDurationMs: 1.5, success: true }, 422],
  [{ eventType: 'other', createDurationMs: 1, success: true }, 422],
  [{ eventType: 'sandbox.create', createDurationMs: 1 }, 422],
])('metrics event %j is %i', async (event, status) => {
  const control = open()
  expect((await control.call('POST', '/v1/metrics/events', event)).status).toBe(status)
})

test('the pages that everybody may see', async () => {
  const control = open()
  expect((await control.call('GET', '/health')).body).toEqual({ status: 'healthy' })
  expect((await control.call('GET', '/version')).body).toEqual({ version: '9.9.9' })
  const api = (await control.call('GET', '/openapi.json')).body as {
    openapi: string
    paths: Record<string, Record<string, unknown>>
    components: { schemas: Record<string, { required?: string[] }> }
  }
  expect(api.openapi).toBe('3.1.0')
  expect(Object.keys(api.paths['/v1/sandboxes'] ?? {})).toEqual(['post', 'get'])
  expect(api.components.schemas.Sandbox?.required).toEqual(['id', 'status', 'createdAt', 'entrypoint'])
  const references = JSON.stringify(api).match(/#\/components\/schemas\/\w+/g) ?? []
  for (const reference of references)
    expect(api.components.schemas).toHaveProperty(reference.split('/')[3] ?? '')
  const docs = await control.call('GET', '/docs')
  expect(docs.headers.get('content-type')).toContain('text/html')
  expect(docs.text).toContain('/v1/sandboxes/{id}/endpoints/{port}')
  // Self-contained: nothing is fetched from elsewhere.
  expect(docs.text).not.toMatch(/(src|href)="(?!#|\/openapi\.json)/)
})

test.each([
  ['GET', '/', 404],
  ['GET', '/v1', 404],
  ['GET', '/v1/health', 404],
  ['GET', '/v1/version', 404],
  ['GET', '/healthz', 404],
  ['GET', '/sandboxes/', 404],
  ['GET', '/sandboxes/x/proxy/80/', 404],
])('%s %s is %i with an envelope', async (method, path, status) => {
  const answer = await open().call(method, path)
  expect(answer.status).toBe(status)
  expect(answer.body).toEqual({ code: expect.any(String), message: expect.any(String) })
  expect(answer.headers.get('x-request-id')).toBeTruthy()
})

test.each([
  ['PUT', '/v1/sandboxes', 'GET, HEAD, POST'],
  ['POST', '/health', 'GET, HEAD'],
  ['GET', '/sandboxes/x/pause', 'POST'],
  ['OPTIONS', '/sandboxes/x', 'GET, HEAD, DELETE'],
])('%s %s is 405 and says what is allowed', async (method, path, allowed) => {
  const { status, headers, body } = await open().call(method, path)
  expect([status, body.code, headers.get('allow')]).toEqual([405, 'GENERAL::METHOD_NOT_ALLOWED', allowed])
})

test('a request id is taken when it is harmless and made when it is not', async () => {
  const control = open()
  const ask = async (id: string) =>
    (await control.call('GET', '/nothing', undefined, { 'x-request-id': id })).headers.get('x-request-id')
  expect(await ask('abc-123')).toBe('abc-123')
  for (const bad of ['a b', 'x'.repeat(129), 'a"b', '']) expect(await ask(bad)).toMatch(/^[0-9a-f]{32}$/)
})

test('a fault of the program is 500 with an id that is also in the log, and nothing else', async () => {
  const lines: string[] = []
  const write = (message: string, fields?: Record<string, unknown>) =>
    void lines.push(message + JSON.stringify(fields))
  const control = open({ log: { debug: () => {}, info: () => {}, warn: write, error: write } })
  control.lives.store.list = () => {
    throw new Error('disk image malformed at /secret')
  }
  const answer = await control.call('GET', '/sandboxes')
  expect([answer.status, answer.body.code]).toEqual([500, 'GENERAL::UNKNOWN_ERROR'])
  expect(answer.text).not.toContain('secret')
  expect(lines.join()).toContain(answer.headers.get('x-request-id'))
})
