import { expect, test } from 'vitest'
import { checkAuthority, judgeRequest } from '../../../egress/interception/judge-request.ts'
import type { Injection, VaultRequest, VaultServer, VaultView } from '../../../egress/vault/port.ts'

const SERVER: VaultServer = { scheme: 'https', host: 'a.example', port: 443 }
const injection = (binding: string): Injection => ({
  kind: 'inject',
  binding,
  revision: 1,
  headers: [],
  substitutions: [],
  secrets: [],
})

/** GET and POST below /v1/ are of one binding, POST below /v2/ of another. */
function choose({ method, target }: VaultRequest): ReturnType<VaultView['choose']> {
  if (target.startsWith('/v1/') && ['GET', 'POST'].includes(method)) return injection('one')
  return target.startsWith('/v2/') && method === 'POST' ? injection('two') : { kind: 'none' }
}

test.each([
  ['nothing', [], 'one'],
  ['a method of the same binding', [{ by: 'x', method: 'GET' }], 'one'],
  ['a method that is not bound', [{ by: 'x', method: 'DELETE' }], undefined],
  ['no method at all', [{ by: 'x', method: '' }], undefined],
  ['a path of the same binding', [{ by: 'x', target: '/v1/other' }], 'one'],
  ['a path that is not bound', [{ by: 'x', target: '/admin' }], undefined],
  ['a path of another binding', [{ by: 'x', target: '/v2/x' }], undefined],
  [
    'one that is bound and one that is not',
    [
      { by: 'y', method: 'GET' },
      { by: 'x', method: 'PUT' },
    ],
    undefined,
  ],
])('C6: a request that says beside its first line %s', (_what, overrides, binding) => {
  const vault: VaultView = { revision: 1, hasBindingFor: () => true, choose }
  const asked = { method: 'POST', target: '/v1/x', overrides: () => overrides }
  const verdict = judgeRequest(vault, SERVER, asked)
  if (binding !== undefined) expect(verdict).toMatchObject({ injection: { binding } })
  else
    expect(verdict).toEqual({
      binding: 'one',
      refusal: { status: 400, text: expect.stringMatching(/depends on how the (method|path) is read.* x$/) },
    })
})

test('a request that gets no secret may say what it likes', () => {
  const vault: VaultView = { revision: 1, hasBindingFor: () => true, choose }
  const overrides = () => [{ by: 'x', target: '/v1/x' }]
  expect(judgeRequest(vault, SERVER, { method: 'GET', target: '/', overrides })).toEqual({
    injection: undefined,
  })
})

test.each([
  [443, 'a.example', undefined],
  [443, 'a.example:443', undefined],
  [443, 'A.EXAMPLE.', undefined],
  [443, 'a.example:8443', 421],
  [443, 'b.example', 421],
  [8443, 'a.example:8443', undefined],
  [8443, 'A.example:8443', undefined],
  [8443, 'a.example:08443', undefined],
  [8443, 'a.example', 421],
  [8443, 'a.example:443', 421],
  [8443, 'b.example:8443', 421],
  [8443, 'a.example:8443:8443', 400],
  [8443, 'x@a.example:8443', 400],
  [8443, undefined, 400],
  // Others than browsers do not make them into letters: to the server it is another name.
  [443, '\xaa.example', 400],
  [443, 'a\xad.example', 400],
])('on a connection to port %i the authority %s is answered %s', (port, authority, status) => {
  expect(checkAuthority(authority, { ...SERVER, port })?.status).toBe(status)
})
