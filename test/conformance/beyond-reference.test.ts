// Where the reference server (1.1.1) is weak and this one answers otherwise on purpose: what, in a request for each. The list of
// differences from its description is in published-document.test.ts.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { MINIMAL } from '../support/control-app.ts'
import { type Ask, type ControlServer, type Reply, startControlServer } from '../support/control-server.ts'

const KEY = { 'open-sandbox-api-key': 'operator' }
const SECRET = 'hunter2-do-not-repeat'

let server: ControlServer

beforeAll(async () => {
  server = await startControlServer({ apiKey: 'operator' })
})

afterAll(async () => {
  await server?.stop()
})

async function ask(method: string, path: string, body?: unknown, headers: Ask['headers'] = KEY) {
  const reply = await server.ask({ method, path, body, headers })
  return { ...reply, json: readJson(reply) }
}

function readJson({ headers, text }: Reply): Record<string, unknown> {
  const isJson = headers['content-type']?.[0]?.includes('json')
  return isJson ? (JSON.parse(text) as Record<string, unknown>) : {}
}

async function create(more: object = {}): Promise<string> {
  const { status, json } = await ask('POST', '/v1/sandboxes', { ...MINIMAL, ...more })
  expect(status).toBe(202)
  return String(json.id)
}

const DIFFERENCES: { reference: string; here: string; check: () => Promise<void> }[] = [
  {
    reference: 'a create by templateId is refused for its entrypoint',
    here: 'a template that is not there is said to be that',
    check: async () => {
      const { status, json } = await ask('POST', '/sandboxes', { templateId: 'tpl-none', timeout: 60 })
      expect([status, json.code]).toEqual([404, 'FSB::TEMPLATE_NOT_FOUND'])
    },
  },
  {
    reference: 'a policy that is not in force is a 502',
    here: 'it is a 409 with the reason',
    check: async () => {
      const id = await create()
      server.runtime.exit(id, 1)
      const path = `/v1/sandboxes/${id}/networkpolicy`
      await expect.poll(async () => (await ask('GET', path)).json.code).toBe('EGRESS::POLICY_UNAVAILABLE')
      const { status, json } = await ask('GET', path)
      expect([status, json.message]).toEqual([409, expect.stringContaining('Failed')])
    },
  },
  {
    reference: 'the policy of an id like a template’s is an unknown error',
    here: 'it is not found, as any other id',
    check: async () => {
      const { status, json } = await ask('GET', '/v1/sandboxes/fsb-none/networkpolicy')
      expect([status, json.code]).toEqual([404, 'DOCKER::SANDBOX_NOT_FOUND'])
    },
  },
  {
    reference: 'Allow names one method of several',
    here: 'it names all of the route',
    check: async () => {
      for (const [method, path, allowed] of [
        ['POST', '/v1/sandboxes/x/networkpolicy', 'GET, HEAD, PUT, PATCH, DELETE'],
        ['PUT', '/sandboxes', 'GET, HEAD, POST'],
        ['PATCH', '/v1/pools/p', 'GET, HEAD, PUT, DELETE'],
        ['GET', '/v1/sandboxes/x/pause', 'POST'],
        ['DELETE', '/v1/metrics/events', 'POST'],
      ] as const) {
        const { status, headers, json } = await ask(method, path)
        expect([status, headers.allow, json.code]).toEqual([405, [allowed], 'GENERAL::METHOD_NOT_ALLOWED'])
      }
    },
  },
  {
    reference: 'the order of patched rules depends on how a sandbox was made',
    here: 'new rules stand before those there are',
    check: async () => {
      const egress = [{ action: 'allow', target: 'old.example' }]
      const id = await create({ networkPolicy: { defaultAction: 'deny', egress } })
      const path = `/v1/sandboxes/${id}/networkpolicy`
      await ask('PATCH', path, [
        { action: 'deny', target: 'new.example' },
        { action: 'allow', target: 'newer.example' },
      ])
      const { policy } = (await ask('GET', path)).json as { policy: { egress: { target: string }[] } }
      expect(policy.egress.map(({ target }) => target)).toEqual([
        'new.example',
        'newer.example',
        'old.example',
      ])
    },
  },
  {
    reference: 'no Location for a new sandbox, and that of a template differs from its description',
    here: 'both have one, under the prefix that was called, which leads to it',
    check: async () => {
      for (const [path, body] of [
        ['/sandboxes', MINIMAL],
        ['/v1/sandboxes', MINIMAL],
        ['/templates', { image: 'debian', publish: 'd' }],
        ['/v1/templates', { image: 'debian', publish: 'd' }],
      ] as const) {
        const { headers, json } = await ask('POST', path, body)
        const id = json.id ?? json.templateId
        expect(headers.location).toEqual([`${path}/${String(id)}`])
        expect((await ask('GET', headers.location?.[0] ?? '')).status).toBe(200)
      }
    },
  },
  {
    reference: 'whatever begins like a public path needs no key, and the metrics route has one prefix only',
    here: 'public paths are exact, and every route has both prefixes',
    check: async () => {
      for (const path of ['/versionx', '/healthz', '/docsx', '/openapi.jsonx', '/v1/version', '/version/x'])
        expect((await ask('GET', path, undefined, {})).status).toBe(401)
      expect((await ask('GET', '/version', undefined, {})).json).toEqual({ version: '9.9.9' })
      const event = { eventType: 'sandbox.create', createDurationMs: 1, success: true }
      for (const path of ['/metrics/events', '/v1/metrics/events'])
        expect((await ask('POST', path, event)).status).toBe(204)
    },
  },
  {
    reference: 'the proxy knows neither HEAD nor OPTIONS',
    here: 'both reach the program in the sandbox',
    check: async () => {
      const id = await create()
      const path = `/sandboxes/${id}/proxy/${server.appPort}/a`
      expect((await ask('HEAD', path)).status).toBe(200)
      expect((await ask('OPTIONS', path)).text).toBe('OPTIONS /a')
    },
  },
  {
    reference: 'hooks are refused on this kind of runtime',
    here: 'they are taken',
    check: async () => {
      const lifecycle = { preStart: { command: ['true'] } }
      expect(await create({ lifecycle })).toBeTruthy()
    },
  },
  {
    reference: 'limits that have no effect are ignored in silence',
    here: 'the answer warns of them',
    check: async () => {
      const { status, headers } = await ask('POST', '/v1/sandboxes', {
        ...MINIMAL,
        resourceLimits: { cpu: '1', 'ephemeral-storage': '10Gi' },
      })
      expect([status, headers['opensandbox-warning']]).toEqual([
        202,
        ['resourceLimits.ephemeral-storage has no effect on this runtime'],
      ])
    },
  },
  {
    reference: 'diagnostics are the last 100 lines and 50 events, and whether there were more is not said',
    here: 'so many as were asked for, and whether there were more',
    check: async () => {
      const id = await create()
      server.runtime.output.set(id, Buffer.from(Array.from({ length: 200 }, (_, n) => `${n}\n`).join('')))
      const read = async (query: string) =>
        (await ask('GET', `/v1/sandboxes/${id}/diagnostics/logs?scope=container${query}`)).json
      expect(await read('')).toMatchObject({ truncated: true, content: expect.stringMatching(/^100\n/) })
      expect(await read('&tail=200')).toMatchObject({
        truncated: false,
        content: expect.stringMatching(/^0\n/),
      })
      expect(await read('&tail=1')).toMatchObject({ truncated: true, content: '199\n', contentLength: 4 })
    },
  },
  {
    reference: 'the filter of templates is lenient, and a quote in it breaks the query',
    here: 'it is read as that of sandboxes, and a quote is a quote',
    check: async () => {
      for (const list of ['/v1/templates', '/v1/sandboxes']) {
        for (const filter of ['bare', 'a%3D1%26', '%26'])
          expect((await ask('GET', `${list}?metadata=${filter}`)).json.code).toBe('INVALID_METADATA_FORMAT')
        for (const filter of ["'%3D'", '%22)%20OR%201%3D1--', 'a%2527%3Db%2522'])
          expect((await ask('GET', `${list}?metadata=${filter}`)).json.items).toEqual([])
      }
    },
  },
]

test.each(DIFFERENCES)('reference: $reference; here: $here', async ({ check }) => {
  await check()
})

test('S9: no refusal repeats a value that it was given', async () => {
  const auth = { username: 'u', password: SECRET }
  for (const body of [
    { image: { uri: '', auth }, env: { TOKEN: SECRET } },
    { ...MINIMAL, timeout: SECRET, env: { TOKEN: SECRET } },
    { ...MINIMAL, image: { uri: 'x', auth: { username: 5, password: SECRET } } },
    { ...MINIMAL, env: { TOKEN: [SECRET] }, networkPolicy: { defaultAction: SECRET, egress: SECRET } },
    { ...MINIMAL, volumes: [{ name: SECRET, mountPath: SECRET, ossfs: { accessKeySecret: SECRET } }] },
    { ...MINIMAL, metadata: { k: `${SECRET} with a space` }, platform: { os: SECRET, arch: SECRET } },
    { ...MINIMAL, resourceLimits: { memory: SECRET } },
    { ...MINIMAL, extensions: { 'access.renew.extend.seconds': SECRET } },
    `{"image": "${SECRET}`,
    JSON.stringify(SECRET),
  ]) {
    const { status, text, json } = await ask('POST', '/v1/sandboxes', body)
    expect([400, 422]).toContain(status)
    expect(text).not.toContain(SECRET)
    expect(json).toMatchObject({ code: expect.any(String), message: expect.any(String) })
  }
})
