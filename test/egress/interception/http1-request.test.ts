import { describe, expect, test } from 'vitest'
import { parseRequestHead } from '../../../egress/interception/http1-head.ts'
import { planRequest } from '../../../egress/interception/http1-request.ts'
import type { Injection, VaultChoice, VaultServer } from '../../../egress/vault/port.ts'

const SERVER: VaultServer = { scheme: 'https', host: 'a.example', port: 443 }
const INJECTION: Injection = {
  kind: 'inject',
  binding: 'b',
  revision: 1,
  headers: [['Authorization', 'Bearer secret']],
  substitutions: [{ placeholder: '{{key}}', value: 'secret', in: ['body', 'path'] }],
  secrets: ['secret'],
}

function plan(lines: string[], choice: VaultChoice = { kind: 'none' }) {
  const head = parseRequestHead(`${lines.join('\r\n')}\r\n\r\n`)
  if ('problem' in head) return { refusal: { status: head.status ?? 400, text: head.problem } }
  return planRequest(head, SERVER, { revision: 1, hasBindingFor: () => true, choose: () => choice })
}

describe('a request is refused', () => {
  test.each([
    ['for another server', 421, ['GET / HTTP/1.1', 'Host: b.example']],
    ['without a host', 400, ['GET / HTTP/1.1']],
    [
      'with two lengths',
      400,
      ['GET / HTTP/1.1', 'Host: a.example', 'Content-Length: 1', 'Content-Length: 1'],
    ],
    ['that would lead elsewhere', 400, ['CONNECT b.example:443 HTTP/1.1', 'Host: a.example']],
    ['with another server in its target', 421, ['GET https://b.example/ HTTP/1.1', 'Host: a.example']],
  ])('%s with %i', (_, status, lines) => {
    expect(plan(lines)).toMatchObject({ refusal: { status } })
  })

  test('with the binding that it would have been', () => {
    expect(plan(['TRACE / HTTP/1.1', 'Host: a.example'], INJECTION)).toMatchObject({
      refusal: { status: 403 },
      binding: 'b',
    })
  })
})

test.each([
  ['GET', [], true],
  ['POST', [], false],
  ['GET', ['Content-Length: 1'], false],
  ['GET', ['Connection: upgrade', 'Upgrade: websocket'], false],
])('%s with %j can be sent again: %s', (method, fields, isRepeatable) => {
  expect(plan([`${method} / HTTP/1.1`, 'Host: a.example', ...fields])).toMatchObject({ isRepeatable })
})

test('a body in which texts are replaced is held, and its client is not left to wait', () => {
  const lines = ['POST /{{key}} HTTP/1.1', 'Host: a.example', 'Content-Type: text/plain', 'Content-Length: 7']
  const planned = plan([...lines, 'Expect: 100-continue'], INJECTION)
  if ('refusal' in planned) throw new Error(planned.refusal.text)
  expect(planned.holdsBody).toBe(true)
  const names = planned.lines.map(({ name }) => name)
  expect(names).toContain('Authorization')
  expect(names).not.toContain('Expect')
  expect(plan(lines)).toMatchObject({ holdsBody: false })
})

test('what came in a field stays the same bytes, and a secret in it is written as UTF-8', () => {
  const bytes = Buffer.from('grün').toString('latin1')
  const planned = plan(['GET / HTTP/1.1', 'Host: a.example', `X-Name: ${bytes} {{key}}`], {
    ...INJECTION,
    substitutions: [{ placeholder: '{{key}}', value: 'sëcret', in: ['header'] }],
  })
  if ('refusal' in planned) throw new Error(planned.refusal.text)
  const value = planned.lines.find(({ name }) => name === 'X-Name')?.value ?? ''
  expect(Buffer.from(value, 'latin1').toString()).toBe('grün sëcret')
})

test.each(['Content_Length', 'Transfer_Encoding', 'keep_alive'])(
  'what %s says is told to no server, which could take it for the field with a hyphen',
  (name) => {
    const planned = plan(['POST / HTTP/1.1', 'Host: a.example', `${name}: 1`, 'session_id: 2'])
    expect(planned).toMatchObject({
      lines: [
        { name: 'Host', value: 'a.example' },
        { name: 'session_id', value: '2' },
      ],
    })
  },
)
