// The policy API as the contract's clients see it (contract: egress.md 2).

import { describe, expect, test } from 'vitest'
import { createPolicyApp } from '../../../egress/app.ts'
import type { NetworkPolicy } from '../../../lib/api/network-policy.ts'
import { createSilentLogger } from '../../../lib/log.ts'
import { createFakeKernel } from '../fake-kernel.ts'

const TOKEN = 'a-token-of-a-guest-1'
const START: NetworkPolicy = {
  defaultAction: 'deny',
  egress: [
    { action: 'allow', target: 'A.example' },
    { action: 'deny', target: '*.example' },
  ],
}

async function setup(policy: NetworkPolicy | undefined = START) {
  const kernel = createFakeKernel()
  const sandboxes = kernel.open()
  await sandboxes.register('sb-1', {
    address: '10.88.0.5',
    interface: 'osbab12aa',
    token: TOKEN,
    ...(policy && { policy }),
  })
  kernel.scripts.length = 0
  const app = createPolicyApp({ ...kernel, sandboxes, log: createSilentLogger() })
  const ask = async (method: string, path: string, body?: unknown, token: string | null = TOKEN) => {
    const response = await app.request(`/sandboxes/${path}`, {
      method,
      headers: token === null ? {} : { 'OPENSANDBOX-EGRESS-AUTH': token },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = response.headers.get('Content-Type') === 'application/json'
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: isJson ? JSON.parse(text) : text,
    }
  }
  const current = async () => (await ask('GET', 'sb-1/policy')).body.policy as NetworkPolicy
  return { ...kernel, sandboxes, ask, current }
}

describe('GET /policy', () => {
  test('shows the policy in its order and spelling', async () => {
    const { ask } = await setup()
    const { status, body, text } = await ask('GET', 'sb-1/policy')
    expect([status, body]).toEqual([
      200,
      { status: 'ok', mode: 'enforcing', enforcementMode: 'dns+nft', policy: START },
    ])
    expect(text.endsWith('}\n')).toBe(true)
  })

  test('of a sandbox without one shows the operator’s default, its rules a list', async () => {
    const { ask } = await setup(undefined)
    expect((await ask('GET', 'sb-1/policy')).body).toMatchObject({ policy: START })
    const kernel = createFakeKernel()
    const sandboxes = kernel.open('allow')
    await sandboxes.register('sb-1', { address: '10.88.0.5', interface: 'osbab12aa', token: TOKEN })
    const response = await createPolicyApp({
      ...kernel,
      sandboxes,
      log: createSilentLogger(),
    }).request('/sandboxes/sb-1/policy', { headers: { 'OPENSANDBOX-EGRESS-AUTH': TOKEN } })
    expect(await response.json()).toEqual({
      status: 'ok',
      mode: 'allow_all',
      enforcementMode: 'dns+nft',
      policy: { defaultAction: 'allow', egress: [] },
    })
  })
})

describe.each(['POST', 'PUT'])('%s /policy', (method) => {
  test.each([
    ['{}', { defaultAction: 'deny', egress: [] }, 'deny_all'],
    ['null', { defaultAction: 'deny', egress: [] }, 'deny_all'],
    ['{"defaultAction":"ALLOW"}', { defaultAction: 'allow', egress: [] }, 'allow_all'],
    [
      '{"egress":[{"target":"x.example"}]}',
      { defaultAction: 'deny', egress: [{ action: 'deny', target: 'x.example' }] },
      'enforcing',
    ],
  ])('%s puts a policy in force', async (sent, policy, mode) => {
    const { ask, current } = await setup()
    const { status, body } = await ask(method, 'sb-1/policy', sent)
    expect([status, body]).toEqual([200, { status: 'ok', mode, enforcementMode: 'dns+nft' }])
    expect(await current()).toEqual(policy)
  })

  test.each(['', '  \n'])('an empty body (%j) resets to deny all', async (sent) => {
    const { ask, current } = await setup()
    const { status, body } = await ask(method, 'sb-1/policy', sent)
    expect([status, body]).toEqual([
      200,
      { status: 'ok', mode: 'deny_all', reason: 'policy reset to default deny-all' },
    ])
    expect(await current()).toEqual({ defaultAction: 'deny', egress: [] })
  })

  test.each([
    ['{', 400, 'not valid JSON'],
    ['[]', 400, 'must be an object'],
    ['{"defaultAction":"block"}', 400, 'defaultAction must be "allow" or "deny"'],
    ['{"egress":[{"action":"allow","target":"*"}]}', 400, 'egress[0].target'],
    [' '.repeat(1024 * 1024 + 1), 413, 'at most 1048576 bytes'],
  ])('refuses %.40s and changes nothing', async (sent, status, message) => {
    const { ask, current, scripts } = await setup()
    const answer = await ask(method, 'sb-1/policy', sent)
    expect(answer.status).toBe(status)
    expect(answer.text).toContain(message)
    expect(answer.headers.get('Content-Type')).toBe('text/plain; charset=utf-8')
    expect(answer.headers.get('X-Content-Type-Options')).toBe('nosniff')
    expect(answer.text.endsWith('\n')).toBe(true)
    expect(scripts).toEqual([])
    expect(await current()).toEqual(START)
  })
})

describe('PATCH /policy', () => {
  test('puts new rules first', async () => {
    const { ask, current } = await setup()
    const rules = [
      { action: 'allow', target: 'b.example' },
      { action: 'deny', target: 'a.example' },
    ]
    expect((await ask('PATCH', 'sb-1/policy', rules)).body).toEqual({
      status: 'ok',
      mode: 'enforcing',
      enforcementMode: 'dns+nft',
    })
    expect(await current()).toEqual({ defaultAction: 'deny', egress: [...rules, START.egress[1]] })
  })

  test('past the limit is 413 and changes nothing', async () => {
    const { ask, current, scripts } = await setup()
    const rules = Array.from({ length: 4095 }, (_, index) => ({
      action: 'allow',
      target: `n${index}.example`,
    }))
    const { status, text } = await ask('PATCH', 'sb-1/policy', rules)
    expect([status, text]).toEqual([413, 'egress must have at most 4096 rules, but it has 4097\n'])
    expect(scripts).toEqual([])
    expect(await current()).toEqual(START)
  })

  test.each([
    ['', 'a JSON list of rules is required'],
    ['[]', 'must not be empty'],
    ['{}', 'must be a JSON list of rules'],
    ['[{"action":"permit","target":"a"}]', 'rules[0].action must be "allow" or "deny"'],
    ['[{"action":"allow"}]', 'rules[0].target'],
  ])('refuses %j', async (sent, message) => {
    const { ask } = await setup()
    const { status, text } = await ask('PATCH', 'sb-1/policy', sent)
    expect([status, text]).toEqual([400, expect.stringContaining(message)])
  })
})

describe('DELETE /policy', () => {
  test('removes the rules of targets', async () => {
    const { ask, current } = await setup()
    expect((await ask('DELETE', 'sb-1/policy', [' a.EXAMPLE ', 'unknown'])).body).toEqual({
      status: 'ok',
      mode: 'enforcing',
      enforcementMode: 'dns+nft',
    })
    expect(await current()).toEqual({ defaultAction: 'deny', egress: [START.egress[1]] })
  })

  test('of unknown targets says so and does not ask the kernel', async () => {
    const { ask, scripts } = await setup()
    const { status, body } = await ask('DELETE', 'sb-1/policy', ['unknown'])
    expect([status, body.reason]).toEqual([200, 'no matching targets found'])
    expect(scripts).toEqual([])
  })

  test.each(['', '[]', '{}', '[1]', '[" "]', '{'])('refuses %j', async (sent) => {
    const { ask } = await setup()
    expect((await ask('DELETE', 'sb-1/policy', sent)).status).toBe(400)
  })
})

test('a kernel that refuses is a 500 that says nothing of it, and changes nothing', async () => {
  const { ask, state, current } = await setup()
  state.refuse = 'flush'
  const { status, text } = await ask('PUT', 'sb-1/policy', {})
  expect([status, text]).toEqual([500, expect.stringMatching(/^internal error [0-9a-f]{32}\n$/)])
  expect(await current()).toEqual(START)
})

describe('who may ask', () => {
  test.each([null, '', 'wrong', `${TOKEN}x`, TOKEN.slice(1)])('the token %j is refused', async (token) => {
    const { ask } = await setup()
    for (const method of ['GET', 'PUT', 'OPTIONS']) {
      const { status, text } = await ask(method, 'sb-1/policy', undefined, token)
      expect([status, text]).toEqual([401, 'unauthorized\n'])
    }
    expect((await ask('GET', 'sb-1/credential-vault', undefined, token)).status).toBe(401)
  })

  test('healthz asks for no token', async () => {
    const { ask } = await setup()
    for (const method of ['GET', 'POST'])
      expect(await ask(method, 'sb-1/healthz', undefined, null)).toMatchObject({ status: 200, text: 'ok' })
  })
})

test.each([
  ['OPTIONS', 'sb-1/policy', 405, 'GET, POST, PUT, PATCH, DELETE'],
  ['PUT', 'sb-1/credential-vault', 405, 'GET, POST, PATCH, DELETE'],
  ['POST', 'sb-1/credential-vault/bindings', 405, 'GET'],
  ['POST', 'sb-1/credential-vault/_active', 405, 'GET'],
  ['GET', 'sb-1/credential-vault/_active', 403, null],
  ['GET', 'sb-1/credential-vault', 404, null],
  ['GET', 'sb-1/credential-vault/credentials/x', 404, null],
  ['POST', 'sb-1/credential-vault', 412, null],
  ['PATCH', 'sb-1/credential-vault', 412, null],
  ['DELETE', 'sb-1/credential-vault', 412, null],
  ['GET', 'sb-1', 404, null],
  ['GET', 'sb-1/other', 404, null],
  ['GET', 'sb-1/policy/more', 404, null],
  ['GET', 'unknown/policy', 404, null],
  ['GET', 'SB-1/policy', 404, null],
  ['GET', '..%2f..%2fetc/policy', 404, null],
  ['GET', '../network', 404, null],
])('%s %s is %i', async (method, path, status, allow) => {
  const { ask } = await setup()
  const answer = await ask(method, path)
  expect(answer.status).toBe(status)
  expect(answer.headers.get('Content-Type')).toBe('text/plain; charset=utf-8')
  expect(answer.headers.get('Allow')).toBe(allow)
})

test('writing to the vault says why it cannot', async () => {
  const { ask } = await setup()
  expect((await ask('POST', 'sb-1/credential-vault', {})).text).toContain('transparent mitmproxy')
})

describe('explain', () => {
  test.each([
    ['x.example', { target: 'x.example', kind: 'name', action: 'deny', reason: 'rule 1', rule: '*.example' }],
    [
      'A.EXAMPLE.',
      { target: 'a.example', kind: 'name', action: 'allow', reason: 'rule 0', rule: 'A.example' },
    ],
    [
      '10.1.2.3',
      {
        target: '10.1.2.3',
        kind: 'address',
        action: 'deny',
        reason: 'the address is closed (private) and no rule opens it',
        learned: false,
      },
    ],
  ])('%s', async (target, expected) => {
    const { ask } = await setup()
    const { status, body } = await ask('GET', `sb-1/policy/explain?target=${target}`)
    expect([status, body]).toEqual([200, expected])
  })

  test('O9: of one port and protocol, and of IPv6', async () => {
    const { ask } = await setup()
    const rule = { action: 'allow', target: '10.1.2.0/24', protocol: 'tcp', ports: ['5432', 6000] }
    expect((await ask('PATCH', 'sb-1/policy', [rule])).status).toBe(200)
    expect((await ask('GET', 'sb-1/policy')).body).toMatchObject({ policy: { egress: [rule, {}, {}] } })
    const explain = async (query: string) => (await ask('GET', `sb-1/policy/explain?target=${query}`)).body
    expect(await explain('10.1.2.3&port=5432')).toMatchObject({
      action: 'allow',
      port: 5432,
      protocol: 'tcp',
      reason: 'an allow rule covers the address (tcp 5432, 6000)',
    })
    expect(await explain('10.1.2.3&port=80')).toMatchObject({ action: 'deny' })
    expect(await explain('10.1.2.3&port=5432&protocol=udp')).toMatchObject({
      action: 'deny',
      protocol: 'udp',
    })
    expect(await explain('a.example&protocol=udp&port=443')).toMatchObject({ action: 'deny' })
    expect(await explain('64:ff9b::a9fe:a9fe')).toMatchObject({
      action: 'deny',
      reason: 'sandboxes have no IPv6 (NAT64 169.254.169.254: link-local)',
    })
    for (const wrong of ['port=0', 'port=65536', 'port=x', 'protocol=sctp'])
      expect((await ask('GET', `sb-1/policy/explain?target=a.example&${wrong}`)).status, wrong).toBe(400)
  })

  test('refuses what is neither a name nor an address, and who has no token', async () => {
    const { ask } = await setup()
    const { status, text } = await ask('GET', 'sb-1/policy/explain?target=a%20b')
    expect([status, text]).toEqual([
      400,
      expect.stringContaining('target must be a host name or an IP address'),
    ])
    expect((await ask('GET', 'sb-1/policy/explain')).status).toBe(400)
    expect((await ask('GET', 'sb-1/policy/explain?target=a.example', undefined, null)).status).toBe(401)
  })
})

describe('what was decided', () => {
  test('is asked for page by page, and makes a proposal', async () => {
    const { ask, record } = await setup()
    record.add('sb-1', {
      kind: 'name',
      verdict: 'allow',
      reason: 'rule 0',
      rule: 'A.example',
      name: 'a.example',
    })
    record.add('sb-1', {
      kind: 'name',
      verdict: 'deny',
      reason: 'rule 1',
      rule: '*.example',
      name: 'x.example',
    })
    const { status, body } = await ask('GET', 'sb-1/policy/events?limit=1')
    expect([status, body]).toEqual([
      200,
      { events: [expect.objectContaining({ sequence: 1, name: 'a.example' })], next: 1, lost: 0 },
    ])
    expect((await ask('GET', 'sb-1/policy/events?after=1')).body.events).toMatchObject([
      { name: 'x.example' },
    ])
    const allowed = (...targets: string[]) => ({
      defaultAction: 'deny',
      egress: targets.map((target) => ({ action: 'allow', target })),
    })
    expect((await ask('GET', 'sb-1/policy/proposal')).body).toEqual(allowed('a.example'))
    expect((await ask('GET', 'sb-1/policy/proposal?denied=true')).body).toEqual(
      allowed('a.example', 'x.example'),
    )
  })

  test.each([
    ['events?after=-1', 'after must be a whole number from 0'],
    ['events?limit=501', 'limit must be a whole number from 1 to 500, but it is "501"'],
    ['proposal?denied=yes', 'denied must be "true" or "false", but it is "yes"'],
  ])('%s is refused', async (question, message) => {
    const { ask } = await setup()
    const { status, text } = await ask('GET', `sb-1/policy/${question}`)
    expect([status, text]).toEqual([400, expect.stringContaining(message)])
  })

  test('is told to nobody without the token', async () => {
    const { ask } = await setup()
    for (const question of ['events', 'proposal'])
      expect((await ask('GET', `sb-1/policy/${question}`, undefined, 'wrong')).status).toBe(401)
  })
})
