import { expect, test } from 'vitest'
import { unpackedBasic, withoutEscapes, writtenForms } from '../../../egress/vault/written.ts'

const SECRET = 'tok-very/secret~"1'

test.each(['', 'x', 'xy', 'xyz', 'Bearer '])(
  'C5: a secret is found in the base64 of what begins with %j',
  (before) => {
    for (const coding of ['base64', 'base64url'] as const)
      for (const after of ['', '.', '..', ' and more']) {
        const packed = Buffer.from(`${before}${SECRET}${after}`).toString(coding)
        expect(writtenForms(SECRET).some((form) => packed.includes(form))).toBe(true)
      }
  },
)

test('C5: a secret is found in JSON, and as it is', () => {
  expect(writtenForms(SECRET)).toEqual(expect.arrayContaining([SECRET, 'tok-very/secret~\\"1']))
})

test('a short secret is not looked for in base64, where it would be found everywhere', () => {
  expect(writtenForms('ab')).toEqual(['ab'])
})

test.each([
  ['a%21b', 'a!b'],
  ['a%2fb', 'a/b'],
  ['a%2Fb', 'a/b'],
  ['a+b%21', 'a b!'],
  ['a%2521b', 'a!b'],
  ['%61%21%62', 'a!b'],
  ['a%b', 'a%b'],
])('C5: escapes in %j are undone', (text, secret) => {
  expect(withoutEscapes(text)).toContain(secret)
})

test.each([
  ['me:a-password', ['me:a-password', 'a-password']],
  ['me:short', ['me:short']],
  ['no colon', []],
])('C5: what stands in the base64 of %j: %j', (text, wanted) => {
  expect(unpackedBasic(Buffer.from(text).toString('base64'))).toEqual(wanted)
})

test('what is no base64 stands for nothing else', () => {
  expect(unpackedBasic('not base64 at all: no')).toEqual([])
})
