import { expect, test } from 'vitest'
import { HeldBody } from '../../../egress/interception/held-body.ts'
import { RequestBody } from '../../../egress/interception/http1-request-body.ts'

test('a body that is held keeps nothing of the pieces that it came in', () => {
  const body = new RequestBody({ kind: 'length', length: 6 }, undefined, () => {})
  for (const text of ['on', 'e t', 'w']) {
    const piece = Buffer.from(text)
    expect(body.take(piece, () => {})).toEqual({ rest: Buffer.alloc(0) })
    piece.fill('x')
  }
  expect(body.isDone).toBe(true)
  expect(String(body.takeHeld('text/plain'))).toBe('one tw')
})

test('what has not come of a body is not shown, and what is too much is not kept', () => {
  const body = new HeldBody(4)
  expect(body.takeAll()).toHaveLength(0)
  body.push(Buffer.from('ab'))
  expect(String(body.takeAll())).toBe('ab')
  body.push(Buffer.from('cdef'))
  expect(String(body.takeAll())).toBe('abcd')
})
