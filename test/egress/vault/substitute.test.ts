import { expect, test } from 'vitest'
import { SUBSTITUTION_PLACES, type SubstitutionPlace } from '../../../egress/vault/port.ts'
import {
  substituteBody,
  substituteHeader,
  substitutesBody,
  substituteTarget,
} from '../../../egress/vault/substitute.ts'

const VALUE = 'a/b "c"&d=ä'
const of = (...places: SubstitutionPlace[]) => [{ placeholder: 'PLACE', value: VALUE, in: places }]
const all = of(...SUBSTITUTION_PLACES)

test.each([
  ['/x/PLACE/y?k=PLACE', all, '/x/a%2Fb%20%22c%22%26d%3D%C3%A4/y?k=a%2Fb%20%22c%22%26d%3D%C3%A4'],
  ['/PLACE?PLACE', of('query'), '/PLACE?a%2Fb%20%22c%22%26d%3D%C3%A4'],
  ['/PLACE?PLACE', of('path'), '/a%2Fb%20%22c%22%26d%3D%C3%A4?PLACE'],
  ['/PLACE', of('header', 'body'), '/PLACE'],
  ['/place', all, '/place'],
])('substituteTarget(%j)', (target, substitutions, expected) => {
  expect(substituteTarget(target, substitutions)).toBe(expected)
})

test('in a header the secret stands as it is, each time', () => {
  const substitutions = [{ placeholder: 'PLACE', value: 'secret', in: ['header' as const] }]
  expect(substituteHeader('Token PLACE, PLACE', substitutions)).toBe('Token secret, secret')
  expect(substituteHeader('Token PLACE', of('body'))).toBe('Token PLACE')
})

test('what a secret holds is not looked at again', () => {
  const substitutions = [
    { placeholder: 'ONE.', value: 'TWO.$&', in: ['header' as const] },
    { placeholder: 'TWO.', value: 'x', in: ['header' as const] },
  ]
  expect(substituteHeader('ONE. TWO. ONEx', substitutions)).toBe('TWO.$& x ONEx')
})

test.each([
  ['application/json', '{"k":"PLACE"}', '{"k":"a/b \\"c\\"&d=ä"}'],
  ['application/problem+json; charset=utf-8', '"PLACE"', '"a/b \\"c\\"&d=ä"'],
  ['application/x-www-form-urlencoded', 'k=PLACE', 'k=a%2Fb+%22c%22%26d%3D%C3%A4'],
  ['text/plain', 'PLACE', VALUE],
  [undefined, 'PLACE', VALUE],
])('substituteBody() of %s', (contentType, body, expected) => {
  expect(substituteBody(Buffer.from(body), all, contentType).toString()).toBe(expected)
})

test('bytes that are no text stay what they are', () => {
  const body = Buffer.concat([Buffer.from([0xff, 0x00, 0xc3]), Buffer.from('PLACE')])
  expect(substituteBody(body, all, undefined)).toEqual(
    Buffer.concat([Buffer.from([0xff, 0x00, 0xc3]), Buffer.from(VALUE)]),
  )
})

test.each([
  ['application/json', undefined, all, true],
  ['application/json', 'identity', all, true],
  ['application/json', 'gzip', all, false],
  ['multipart/form-data; boundary=x', undefined, all, false],
  ['application/json', undefined, of('header', 'path', 'query'), false],
])(
  'a body of %s, encoded %s, is looked at: %4$j',
  (contentType, contentEncoding, substitutions, expected) => {
    expect(substitutesBody(substitutions, { contentType, contentEncoding })).toBe(expected)
  },
)
