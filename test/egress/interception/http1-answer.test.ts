import { expect, test } from 'vitest'
import { formatRefusal, planAnswer } from '../../../egress/interception/http1-answer.ts'

const GET = { method: 'GET', minor: 1, isUpgrade: false, hasBody: false, awaitsContinue: false } as const
const POST = { ...GET, method: 'POST', hasBody: true }
const head = (status: number, more: { length?: string; coding?: string; connection?: string[] } = {}) => ({
  status,
  minor: 1 as const,
  length: undefined,
  coding: undefined,
  connection: [],
  ...more,
})

test.each([
  ['with a length', head(200, { length: '3' }), GET, 'length', true],
  ['in chunks', head(200, { coding: 'chunked' }), GET, 'chunked', true],
  ['to HEAD', head(200, { length: '3' }), { ...GET, method: 'HEAD' }, 'none', true],
  ['with the end of its connection', head(200), GET, 'close', false],
  ['whose server closes', head(200, { length: '3', connection: ['a', 'close'] }), GET, 'length', false],
  ['to a GET with a body', head(200, { length: '3' }), { ...GET, hasBody: true }, 'length', false],
  ['to a TRACE with one', head(200, { length: '3' }), { ...POST, method: 'TRACE' }, 'length', false],
  ['to a POST with one', head(200, { length: '3' }), POST, 'length', true],
  ['to one not asked for', head(417, { length: '0' }), { ...POST, awaitsContinue: true }, 'length', false],
  ['of HTTP/1.0', { ...head(200, { length: '3' }), minor: 0 as const }, GET, 'length', false],
])('an answer %s is the last, and says whether another may come', (_, answer, asked, kind, isReusable) => {
  expect(planAnswer(answer, asked)).toMatchObject({ is: 'final', framing: { kind }, isReusable })
})

test('answers on the way are told to clients of HTTP/1.1 alone', () => {
  expect(planAnswer(head(103), GET)).toEqual({ is: 'interim', isTold: true })
  expect(planAnswer(head(103), { ...GET, minor: 0 })).toEqual({ is: 'interim', isTold: false })
})

test('another protocol comes only to who has asked for it', () => {
  expect(planAnswer(head(101), { ...GET, isUpgrade: true })).toEqual({ is: 'switch' })
  expect(planAnswer(head(101), GET)).toEqual({ problem: expect.stringContaining('was not asked for') })
})

test('a refusal ends the connection, and has no body for HEAD', () => {
  expect(formatRefusal({ status: 403, text: 'no' }, 'GET')).toMatch(
    /^HTTP\/1\.1 403 Forbidden\r\n[\s\S]*Content-Length: 3\r\nConnection: close\r\n\r\nno\n$/,
  )
  expect(formatRefusal({ status: 403, text: 'no' }, 'HEAD')).toMatch(/Content-Length: 3\r\n[\s\S]*\r\n\r\n$/)
})
