import { expect, test } from 'vitest'
import { compilePolicy } from '../../../egress/policy/compile.ts'
import { changeVault, createVault } from '../../../egress/vault/change.ts'
import { requireCovered } from '../../../egress/vault/coverage.ts'
import { viewOf } from '../../../egress/vault/match.ts'
import { parseMutation, parseVault } from '../../../egress/vault/parse.ts'
import { presentVault } from '../../../egress/vault/present.ts'
import type { Vault } from '../../../egress/vault/vault.ts'
import { checkNetworkPolicy } from '../../../lib/api/network-policy.ts'

const SECRET = 'tok-very-secret-1'
const rows = (list: [object, string][]) => list
const limits = { ports: [80, 443] }
const bearer = { type: 'bearer', credential: 'c' }
const credential = (name = 'c', value = SECRET) => ({ name, source: { type: 'inline', value } })
const binding = (name = 'b', match: object = {}, auth: object = bearer) => ({
  name,
  match: { hosts: ['api.example.com'], ...match },
  auth,
})
const make = (bindings: object[], credentials: object[] = [credential()]): Vault =>
  createVault(parseVault(JSON.stringify({ credentials, bindings }), limits))
const change = (vault: Vault, mutation: object): Vault =>
  changeVault(vault, parseMutation(JSON.stringify(mutation), limits))
const shown = (match: object) => presentVault(make([binding('b', match)])).bindings[0]?.match
const request = (fields: object = {}) => ({
  scheme: 'https' as const,
  host: 'api.example.com',
  port: 443,
  method: 'GET',
  target: '/',
  ...fields,
})

test('an empty vault has revision 1', () => {
  expect(presentVault(make([], []))).toEqual({ revision: 1, credentials: [], bindings: [] })
})

test('what is left out of a match is filled in', () => {
  expect(shown({})).toEqual({
    schemes: ['https'],
    ports: [443],
    hosts: ['api.example.com'],
    methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
    paths: ['/*'],
  })
})

test.each([
  [{ schemes: ['http'] }, { ports: [80] }],
  [{ schemes: ['HTTP', 'https'] }, { schemes: ['http', 'https'], ports: [80, 443] }],
  [{ hosts: ['API.Example.com.', 'api.example.com'] }, { hosts: ['api.example.com'] }],
  [{ hosts: ['*.Example.com'] }, { hosts: ['*.example.com'] }],
  [{ methods: ['get', 'GET', 'head'] }, { methods: ['GET', 'HEAD'] }],
  [{ paths: ['/v1/*', '/v1/*', '/x'] }, { paths: ['/v1/*', '/x'] }],
  [
    { schemes: [], ports: null },
    { schemes: ['https'], ports: [443] },
  ],
])('the match %j becomes one with %j', (match, expected) => {
  expect(shown(match)).toMatchObject(expected)
})

test.each(
  rows([
    [{ hosts: [] }, 'bindings[0].match.hosts must have at least one host'],
    [{ schemes: ['ftp'] }, 'bindings[0].match.schemes[0] must be one of "http", "https", but it is "ftp"'],
    [{ ports: [8443] }, 'bindings[0].match.ports[0] must be one of 80, 443'],
    [{ ports: ['443'] }, 'bindings[0].match.ports[0] must be one of 80, 443'],
    [
      { methods: ['TRACE'] },
      'bindings[0].match.methods[0] must be a method of HTTP that is neither CONNECT nor TRACE',
    ],
    [{ paths: ['v1'] }, 'bindings[0].match.paths[0] must be a path that begins with "/"'],
    [{ path: ['/'] }, 'bindings[0].match has the unknown field "path"'],
  ]),
)('the match %j is refused: %s', (match, message) => {
  expect(() => make([binding('b', match)])).toThrow(message)
})

test.each([
  [{ type: 'basic', credential: 'c' }, [['Authorization', `Basic ${SECRET}`]], { type: 'basic' }],
  [bearer, [['Authorization', `Bearer ${SECRET}`]], { type: 'bearer' }],
  [
    { type: 'apiKey', name: 'PRIVATE-TOKEN', credential: 'c' },
    [['Private-Token', SECRET]],
    { type: 'apiKey', name: 'Private-Token' },
  ],
  [
    {
      type: 'customHeaders',
      headers: [
        { name: 'x-key', credential: 'c' },
        { name: 'Cookie', credential: 'c' },
      ],
    },
    [
      ['X-Key', SECRET],
      ['Cookie', SECRET],
    ],
    { type: 'customHeaders', headers: ['X-Key', 'Cookie'] },
  ],
  [{ type: 'passthrough' }, [], { type: 'passthrough' }],
])('the auth %j sets %j and shows %j', (auth, headers, metadata) => {
  const vault = make([binding('b', {}, auth)])
  expect(viewOf(vault).choose(request())).toMatchObject({ kind: 'inject', headers })
  expect(presentVault(vault).bindings[0]?.auth).toEqual(metadata)
})

test.each([
  'localhost',
  '*.com',
  '*.localhost',
  '*',
  'a_b.example.com',
  '10.0.0.1',
  'a.example.com:443',
  'https://a.example.com',
  'a.example.com/x',
  '-a.example.com',
  `${'a'.repeat(64)}.example.com`,
  '*.*.example.com',
  'ä.example.com',
  '1.2.3.4.5',
])('no binding is for the host %j', (host) => {
  expect(() => make([binding('b', { hosts: [host] })])).toThrow(
    'bindings[0].match.hosts[0] must be a full host name',
  )
})

test.each([
  'host',
  'Content-Length',
  'content-type',
  'TE',
  'Connection',
  'proxy-authorization',
  'Forwarded',
  'x-forwarded-for',
  'X-Forwarded-Proto',
  'Transfer-Encoding',
  'upgrade',
  'trailer',
])('no binding sets the header %s', (name) => {
  expect(() => make([binding('b', {}, { type: 'apiKey', name, credential: 'c' })])).toThrow(
    'must not be a header that says how requests are carried',
  )
})

test('C14: which headers a binding sets is shown, and what they hold is not', () => {
  const auth = { type: 'customHeaders', headers: [{ name: 'x-key', credential: 'c' }] }
  const text = JSON.stringify(presentVault(make([binding('b', {}, auth)])))
  expect(text).toContain('X-Key')
  expect(text).not.toContain(SECRET)
})

test.each(
  rows([
    [{ type: 'apiKey', name: 'a b', credential: 'c' }, 'auth.name must be the name of a header'],
    [{ type: 'apiKey', name: '', credential: 'c' }, 'auth.name must be the name of a header'],
    [{ type: 'oauth', credential: 'c' }, 'auth.type must be one of "bearer"'],
    [{ type: 'bearer' }, 'auth.credential must be a name'],
    [{ type: 'bearer', credential: 'other' }, 'binding "b" references unknown credential "other"'],
    [{ type: 'bearer', credential: 'c', value: SECRET }, 'auth has the unknown field "value"'],
    [{ type: 'customHeaders', headers: [] }, 'auth.headers must have at least one header'],
    [
      {
        type: 'customHeaders',
        headers: [
          { name: 'x-a', credential: 'c' },
          { name: 'X-A', credential: 'c' },
        ],
      },
      'must name each header once, but "X-A" is named twice',
    ],
    [
      { ...bearer, substitutions: [{ credential: 'c', placeholder: 'abc', in: ['body'] }] },
      'placeholder must be 4 to 256',
    ],
    [
      { ...bearer, substitutions: [{ credential: 'c', placeholder: 'abcd', in: ['url'] }] },
      'in[0] must be one of "path"',
    ],
    [
      { ...bearer, substitutions: [{ credential: 'c', placeholder: 'abcd', in: [] }] },
      'in must have at least one place',
    ],
    [
      { ...bearer, substitutions: [{ credential: 'x', placeholder: 'abcd', in: ['body'] }] },
      'binding "b" references unknown credential "x"',
    ],
    [
      {
        ...bearer,
        substitutions: [
          { credential: 'c', placeholder: 'abcd', in: ['body'] },
          { credential: 'c', placeholder: 'abcde', in: ['path'] },
        ],
      },
      'substitutions[0].placeholder must not be the same as another, or a part of it',
    ],
  ]),
)('the auth %j is refused: %s', (auth, message) => {
  expect(() => make([binding('b', {}, auth)])).toThrow(message)
})

test.each(['a\nb', 'a\r\nX-Other: b', `${SECRET}\n`, ' a', 'a ', 'ä', '\0a'])(
  'the value %j cannot stand in a header, and the refusal does not repeat it',
  (value) => {
    const trial = () => make([binding()], [credential('c', value)])
    expect(trial).toThrow('the value of credential "c" cannot stand in a header')
    expect(trial).not.toThrow(SECRET)
  },
)

test.each([
  [{ credentials: [{ name: 'c', source: { value: SECRET } }] }, undefined],
  [{ credentials: [{ name: 'c', source: { type: ' ', value: SECRET } }] }, undefined],
  [{}, undefined],
  [{ credentials: null, bindings: null }, undefined],
  [[], 'the body must be an object'],
  [{ credentials: [{ name: 'c', source: { type: 'env', value: SECRET } }] }, 'source.type must be "inline"'],
  [{ credentials: [{ name: 'c', source: { value: '' } }] }, 'source.value must be a text that is not empty'],
  [{ credentials: [{ name: ' ', source: { value: SECRET } }] }, 'credentials[0].name must be a name'],
  [{ credentials: [{ name: 'c', value: SECRET }] }, 'credentials[0] has the unknown field "value"'],
  [{ credentials: [credential(), credential()] }, 'credential "c" is named twice'],
  [{ secrets: [] }, 'the body has the unknown field "secrets"'],
])('the body %j: %s', (body, message) => {
  const trial = () => createVault(parseVault(JSON.stringify(body), limits))
  if (message === undefined) expect(trial().revision).toBe(1)
  else expect(trial).toThrow(message)
})

test('a body that is no JSON is refused without a word of it', () => {
  expect(() => parseVault(`{"value": "${SECRET}`, limits)).toThrow(/^the body is not valid JSON$/)
})

test.each([
  // Of the same kind, with a request that fits both.
  [{}, {}, true],
  [{ hosts: ['*.example.com'] }, { hosts: ['*.api.example.com'] }, true],
  [{ paths: ['/v1/*'] }, { paths: ['/v1/users'] }, true],
  [{ hosts: ['*.example.com'] }, {}, false],
  [{ paths: ['/v1/*'] }, { paths: ['/v2/*'] }, false],
  [{ methods: ['GET'] }, { methods: ['POST'] }, false],
  [{ schemes: ['http'], ports: [80] }, {}, false],
  [{ hosts: ['*.example.com'] }, { hosts: ['*.example.org'] }, false],
])('two bindings with %j and %j fit equally well: %j', (one, other, areAmbiguous) => {
  const trial = () => make([binding('one', one), binding('other', other)])
  if (areAmbiguous) expect(trial).toThrow('bindings "one" and "other" fit the same requests equally well')
  else expect(trial().bindings.size).toBe(2)
})

test('changes: delete, replace, add, each revision one more', () => {
  let vault = make([binding()])
  vault = change(vault, { credentials: { add: [credential('d', 'second')] } })
  vault = change(vault, {
    expectedRevision: 2,
    credentials: { delete: ['c'], replace: [credential('d', 'third')] },
    bindings: { delete: ['b'], add: [binding('e', {}, { type: 'bearer', credential: 'd' })] },
  })
  expect(presentVault(vault)).toMatchObject({
    revision: 3,
    credentials: [{ name: 'd', sourceType: 'inline', revision: 3 }],
    bindings: [{ name: 'e', revision: 3 }],
  })
})

test('C14: a change of nothing is no new revision', () => {
  expect(change(make([binding()]), {}).revision).toBe(1)
})

test.each([
  [
    { expectedRevision: 7, credentials: { delete: ['none'] } },
    409,
    'expectedRevision is 7, but the credential vault has revision 1',
  ],
  [{ expectedRevision: '1' }, 400, 'expectedRevision must be a whole number'],
  [{ credentials: { delete: ['none'] } }, 400, 'credential "none" does not exist'],
  [{ credentials: { replace: [credential('none')] } }, 400, 'credential "none" does not exist'],
  [{ credentials: { add: [credential()] } }, 400, 'credential "c" exists already: replace it'],
  [
    { credentials: { delete: ['c'], add: [credential()] } },
    400,
    'credential "c" is named twice in one request',
  ],
  [{ credentials: { delete: ['c'] } }, 400, 'binding "b" references unknown credential "c"'],
  [{ bindings: { delete: ['', 'b'] } }, 400, 'bindings.delete[0] must be a name'],
  // C14: what an error says does not decide what it is.
  [{ bindings: { delete: ['expectedRevision'] } }, 400, 'binding "expectedRevision" does not exist'],
])('C14: the change %j is refused with %i: %s', (mutation, status, message) => {
  const trial = () => change(make([binding()]), mutation)
  expect(trial).toThrow(message)
  expect(trial).toThrow(expect.objectContaining({ status }))
})

test.each([
  // What binds, what is asked, who is chosen.
  [[binding()], {}, 'b'],
  [[binding()], { host: 'www.example.com' }, undefined],
  [[binding()], { port: 80 }, undefined],
  [[binding()], { scheme: 'http' as const, port: 80 }, undefined],
  [[binding()], { method: 'HEAD' }, undefined],
  [[binding('b', { methods: ['HEAD'] })], { method: 'HEAD' }, 'b'],
  [[binding('b', { paths: ['/v1/*'] })], { target: '/v1/users?x=/../' }, 'b'],
  [[binding('b', { paths: ['/v1/*'] })], { target: '/v2?/v1/' }, undefined],
  [[binding('b', { hosts: ['*.example.com'] })], { host: 'a.b.example.com' }, 'b'],
  [[binding('b', { hosts: ['*.example.com'] })], { host: 'example.com' }, undefined],
  [[binding('b', { hosts: ['*.example.com'] })], { host: 'badexample.com' }, undefined],
  [[binding('wild', { hosts: ['*.example.com'] }), binding('exact')], {}, 'exact'],
  [
    [binding('wild', { hosts: ['*.example.com'] }), binding('exact', { paths: ['/v1/*'] })],
    { target: '/v2' },
    'wild',
  ],
])('%j asked with %j: %s', (bindings, fields, name) => {
  const choice = viewOf(make(bindings)).choose(request(fields))
  expect(choice.kind === 'inject' ? choice.binding : undefined).toBe(name)
})

test('C6: a request whose path can be read in two ways is refused where a binding depends on it', () => {
  const scoped = viewOf(make([binding('b', { paths: ['/v1/*'] })]))
  expect(scoped.choose(request({ target: '/v1/..%2fadmin?x' }))).toMatchObject({
    kind: 'refused',
    binding: 'b',
  })
  expect(scoped.choose(request({ target: '/other//path' }))).toEqual({ kind: 'none' })
  expect(viewOf(make([binding()])).choose(request({ target: '/v1/..%2fadmin' }))).toMatchObject({
    kind: 'inject',
  })
})

test('C13: only servers that a binding is for are read', () => {
  const view = viewOf(make([binding('b', { paths: ['/v1/*'], methods: ['POST'] })]))
  expect(view.hasBindingFor({ scheme: 'https', host: 'api.example.com', port: 443 })).toBe(true)
  expect(view.hasBindingFor({ scheme: 'https', host: 'api.example.com', port: 80 })).toBe(false)
  expect(view.hasBindingFor({ scheme: 'https', host: 'other.example.com', port: 443 })).toBe(false)
})

test('C5: all values and what is made of them are to be redacted, the longest first', () => {
  const vault = make([binding()], [credential(), credential('d', 'a"b')])
  const choice = viewOf(vault).choose(request())
  if (choice.kind !== 'inject') throw new Error('There is no binding')
  expect(choice.secrets[0]).toBe(`Bearer ${SECRET}`)
  expect(choice.secrets).toEqual(expect.arrayContaining([SECRET, 'a\\"b', 'a"b']))
  const lengths = choice.secrets.map(({ length }) => length)
  expect(lengths).toEqual([...lengths].sort((one, other) => other - one))
})

test('C5: of a user and a password, what they are is to be redacted as well', () => {
  const basic = Buffer.from('me:a-password').toString('base64')
  const vault = make([binding('b', {}, { type: 'basic', credential: 'c' })], [credential('c', basic)])
  expect(viewOf(vault).choose(request())).toMatchObject({
    secrets: expect.arrayContaining([`Basic ${basic}`, basic, 'me:a-password', 'a-password']),
  })
})

test('C15: the operator can have further ports read', () => {
  const body = JSON.stringify({ credentials: [credential()], bindings: [binding('b', { ports: [8443] })] })
  const view = viewOf(createVault(parseVault(body, { ports: [80, 443, 8443] })))
  expect(view.choose(request({ port: 8443 }))).toMatchObject({ kind: 'inject' })
})

test.each([
  ['allow', [], 'the policy has no rules'],
  ['allow', ['allow other.example.com'], 'the rules do not allow it by name'],
  ['allow', ['deny api.example.com'], 'the rules do not allow it by name'],
  ['deny', ['deny *.example.com', 'allow api.example.com'], 'the rules do not allow it by name'],
  ['deny', ['allow 10.0.0.0/8'], 'the rules do not allow it by name'],
  ['deny', ['allow api.example.com'], undefined],
  ['deny', ['allow *.example.com'], undefined],
  ['allow', ['allow api.example.com', 'deny *.example.com'], undefined],
] as const)('default %s with %j covers a binding: %s', (defaultAction, rules, problem) => {
  const policy = policyOf(defaultAction, rules)
  const trial = () => requireCovered(make([binding()]), policy)
  if (problem === undefined) expect(trial).not.toThrow()
  else {
    expect(trial).toThrow('explicit networkPolicy.egress')
    expect(trial).toThrow(problem)
  }
})

test.each([
  [['allow *.example.com'], true],
  [['allow *.com'], true],
  [['allow api.example.com'], false],
  [['allow probe.example.com'], false],
  [['deny *.example.com', 'allow *.com'], false],
  [['deny api.example.com', 'allow *.example.com'], true],
])('%j covers a binding for everything below a name: %j', (rules, isCovered) => {
  const vault = make([binding('b', { hosts: ['*.example.com'] })])
  const trial = () => requireCovered(vault, policyOf('deny', rules))
  if (isCovered) expect(trial).not.toThrow()
  else expect(trial).toThrow('the rules do not allow it by name')
})

test('a vault without bindings needs no rules', () => {
  expect(() => requireCovered(make([]), policyOf('allow', []))).not.toThrow()
})

function policyOf(defaultAction: string, rules: readonly string[]) {
  const egress = rules.map((rule) => ({ action: rule.split(' ')[0], target: rule.split(' ')[1] }))
  const checked = checkNetworkPolicy({ defaultAction, egress })
  if (!('policy' in checked)) throw new Error(checked.message)
  return compilePolicy(checked.policy)
}
