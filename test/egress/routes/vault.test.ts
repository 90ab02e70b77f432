// The vault API as the contract's clients see it (contract: egress.md 2.2, 6.2 - 6.5).

import { expect, test } from 'vitest'
import { createPolicyApp } from '../../../egress/app.ts'
import { createLogger } from '../../../lib/log.ts'
import { createFakeKernel } from '../fake-kernel.ts'

const TOKEN = 'a-token-of-a-guest-1'
const SECRET = 'tok-very-secret-1'
const BODY = {
  credentials: [{ name: 'my key/1', source: { type: 'inline', value: SECRET } }],
  bindings: [
    {
      name: 'the api',
      match: { hosts: ['api.example.com'] },
      auth: { type: 'apiKey', name: 'x-key', credential: 'my key/1' },
    },
  ],
}

async function setup({ credentialProxy = true, requiresTls = false, cameBy = 'http' } = {}) {
  const kernel = createFakeKernel()
  const sandboxes = kernel.open()
  await sandboxes.register('sb-1', {
    address: '10.88.0.5',
    interface: 'osbab12aa',
    token: TOKEN,
    ...(credentialProxy && { credentialProxy }),
    policy: { defaultAction: 'deny', egress: [{ action: 'allow', target: '*.example.com' }] },
  })
  const lines: string[] = []
  const log = createLogger({ program: 'egress', level: 'debug', write: (line) => void lines.push(line) })
  const app = createPolicyApp({ ...kernel, sandboxes, requiresTls, log })
  const ask = async (method: string, path: string, body?: unknown) => {
    const response = await app.request(`/sandboxes/sb-1/${path}`, {
      method,
      headers: { 'OPENSANDBOX-EGRESS-AUTH': TOKEN, 'X-Forwarded-Proto': cameBy },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = response.headers.get('Content-Type') === 'application/json'
    return { status: response.status, text, body: isJson ? JSON.parse(text) : undefined }
  }
  const made = await ask('POST', 'credential-vault', BODY)
  return { ...kernel, sandboxes, ask, made, lines }
}

test('C3: where TLS is required, a write that came without it is refused before it is read, and a question is not', async () => {
  const { ask, made } = await setup({ requiresTls: true })
  expect([made.status, made.text]).toEqual([426, expect.stringContaining('egress.vault_require_tls')])
  for (const method of ['PATCH', 'DELETE'])
    expect((await ask(method, 'credential-vault', 'no JSON')).status).toBe(426)
  expect((await ask('GET', 'credential-vault')).status).toBe(404)
  expect((await setup({ requiresTls: true, cameBy: 'https' })).made.status).toBe(201)
  expect((await setup({ requiresTls: true, cameBy: 'https, http' })).made.status).toBe(426)
})

test('a vault is made, shown in all its parts, changed and deleted, and no answer and no log line holds a secret', async () => {
  const { ask, made, lines } = await setup()
  const credential = { name: 'my key/1', sourceType: 'inline', revision: 1 }
  const binding = {
    name: 'the api',
    revision: 1,
    match: {
      schemes: ['https'],
      ports: [443],
      hosts: ['api.example.com'],
      methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
      paths: ['/*'],
    },
    auth: { type: 'apiKey', name: 'X-Key' },
  }
  const state = { revision: 1, credentials: [credential], bindings: [binding] }
  expect([made.status, made.body]).toEqual([201, state])
  const reads = {
    'credential-vault': state,
    'credential-vault/credentials': { revision: 1, credentials: [credential] },
    'credential-vault/bindings': { revision: 1, bindings: [binding] },
    'credential-vault/credentials/my%20key%2F1': credential,
    'credential-vault/bindings/the%20api': binding,
  }
  const texts: string[] = []
  for (const [path, body] of Object.entries(reads)) {
    const answer = await ask('GET', path)
    expect([answer.status, answer.body]).toEqual([200, body])
    texts.push(answer.text)
  }
  const changed = await ask('PATCH', 'credential-vault', {
    expectedRevision: 1,
    credentials: { add: [{ name: 'other', source: { value: `${SECRET}-2` } }] },
  })
  expect([changed.status, changed.body.revision]).toEqual([200, 2])
  const gone = await ask('DELETE', 'credential-vault')
  expect([gone.status, gone.text]).toEqual([204, ''])
  expect((await ask('GET', 'credential-vault')).status).toBe(404)
  expect([...texts, changed.text, ...lines].join()).not.toContain(SECRET)
  expect(lines.join()).toContain('credential vault created')
})

test.each([
  ['POST', '', BODY, 409, 'credential vault already exists'],
  ['PATCH', '', { expectedRevision: 9 }, 409, 'expectedRevision is 9'],
  ['PATCH', '', { bindings: { delete: ['none'] } }, 400, 'binding "none" does not exist'],
  ['PATCH', '', '{', 400, 'the body is not valid JSON'],
  ['GET', '/credentials/none', undefined, 404, 'credential not found'],
  ['GET', '/bindings/none', undefined, 404, 'binding not found'],
  ['GET', '/elsewhere', undefined, 404, 'not found'],
  ['DELETE', '/credentials/my%20key%2F1', undefined, 405, 'method DELETE not allowed'],
  ['GET', '/_active', undefined, 403, 'forbidden'],
])('%s %s %j is refused with %i: %s', async (method, path, body, status, text) => {
  const { ask } = await setup()
  const answer = await ask(method, `credential-vault${path}`, body)
  expect(answer.status).toBe(status)
  expect(answer.text).toContain(text)
})

test.each([
  ['POST', ''],
  ['PUT', { defaultAction: 'allow' }],
  ['PATCH', [{ action: 'deny', target: 'api.example.com' }]],
  ['DELETE', ['*.example.com']],
])('C10: %s of a policy that leaves a binding without its rule changes nothing', async (method, body) => {
  const { ask } = await setup()
  const before = (await ask('GET', 'policy')).text
  const answer = await ask(method, 'policy', body)
  expect(answer.status).toBe(400)
  expect(answer.text).toContain('credential vault policy validation: binding "the api" needs an allow rule')
  expect((await ask('GET', 'policy')).text).toBe(before)
  await ask('DELETE', 'credential-vault')
  expect((await ask(method, 'policy', body)).status).toBe(200)
})

test('C3: a write comes by the API of the installation, and needs a sandbox that trusts who reads its requests', async () => {
  const { ask, made } = await setup({ credentialProxy: false })
  expect(made.status).toBe(412)
  expect(made.text).toContain('transparent mitmproxy')
  // Before the body is looked at (contract: egress.md 6.2).
  for (const method of ['POST', 'PATCH', 'DELETE'])
    expect((await ask(method, 'credential-vault', '{')).status).toBe(412)
})

test('the vault of a sandbox is none of another', async () => {
  const { sandboxes, vaults } = await setup()
  await sandboxes.register('sb-2', { address: '10.88.0.6', interface: 'osbab12bb', token: `${TOKEN}-2` })
  expect(vaults.vaultOf('sb-1')).toBeDefined()
  expect(vaults.vaultOf('sb-2')).toBeUndefined()
})
