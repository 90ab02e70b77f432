import { describe, expect, test } from 'vitest'
import {
  formatExpires,
  parseExpires,
  readSignature,
  type SigningKeys,
  signRoute,
  verifyRoute,
} from '../../lib/signature.ts'

const keysOf = (id: string, secret: string | Uint8Array): SigningKeys => new Map([[id, Buffer.from(secret)]])

describe('the vectors of the contract', () => {
  test.each([
    ['test-secret-bytes', 'z', 'my-sandbox', 9000, 'x2qxvk', '8e1e06e3z'],
    [Uint8Array.of(1, 2, 3), 'a', 'sb', 42, '0', '8ccd73a1a'],
    ['k', 'z', 's', 1, '1vuhmo0', 'f6714e3az'],
    ['ingress-test-secret', 'k', 'alpha-beta', 8080, '3w5e11264sgsf', '2ad91bfek'],
    ['my-base64-decoded-secret!', 'a', 'my-sandbox', 8080, 'x2qxvk', '21e6a3d0a'],
    ['ab', 'k', 'sbx-abc-123', 44772, '3w5e11264sgsf', '1db38ff8k'],
  ] as const)('secret %s, key %s, %s, %i, %s → %s', (secret, keyId, id, port, expires, signature) => {
    const keys = keysOf(keyId, secret)
    expect(signRoute(keys, keyId, { id, port, expires })).toBe(signature)
    expect(verifyRoute(keys, { id, port, expires, signature }, 0)).toBe('valid')
  })

  test.each([
    [2_000_000_000n, 'x2qxvk'],
    [0n, '0'],
    [2n ** 64n - 1n, '3w5e11264sgsf'],
    [4_102_444_800n, '1vuhmo0'],
    [2n ** 53n + 1n, (2n ** 53n + 1n).toString(36)],
  ])('%s seconds are %s', (seconds, text) => {
    expect(formatExpires(seconds)).toBe(text)
    expect(parseExpires(text)).toBe(seconds)
  })

  test.each(['', '00', '01', 'X2QXVK', '3w5e11264sgsg', 'zzzzzzzzzzzzz', '10000000000000', 'a-b', 'é', ' 1'])(
    'no end is %j',
    (text) => {
      expect(parseExpires(text)).toBeUndefined()
      expect(readSignature(text, 'abcdef12k')).toBeUndefined()
    },
  )

  test.each(['', 'abcdef12', 'abcdef12K', 'ABCDEF12k', 'abcdefg2k', 'abcdef12kk'])(
    'no signature is %j',
    (text) => {
      expect(readSignature('0', text)).toBeUndefined()
    },
  )
})

describe('what holds', () => {
  const keys: SigningKeys = new Map([
    ['a', Buffer.from('old')],
    ['b', Buffer.from('new')],
  ])
  const route = { id: 'sb', port: 80, expires: formatExpires(1000n) }
  const signed = { ...route, signature: signRoute(keys, 'b', route) }

  test('G3: a signature holds until its second is over, and its end is looked at before its key', () => {
    expect(verifyRoute(keys, signed, 999_999)).toBe('valid')
    expect(verifyRoute(keys, signed, 1_000_999)).toBe('valid')
    expect(verifyRoute(keys, signed, 1_001_000)).toBe('expired')
    expect(verifyRoute(keys, { ...signed, signature: '00000000x' }, 1_001_000)).toBe('expired')
  })

  test.each([
    ['another sandbox', { id: 'sc' }],
    ['another port', { port: 81 }],
    ['a later end', { expires: formatExpires(1001n) }],
    ['another hash', { signature: '00000000b' }],
    ['the letter of another key', { signature: `${signed.signature.slice(0, 8)}a` }],
  ])('it does not hold for %s', (_, change) => {
    expect(verifyRoute(keys, { ...signed, ...change }, 0)).toBe('mismatch')
  })

  test('a key that was taken out opens nothing any more, one that was replaced holds on', () => {
    const before = { ...route, signature: signRoute(keys, 'a', route) }
    expect(verifyRoute(keys, before, 0)).toBe('valid')
    expect(verifyRoute(keysOf('b', 'new'), before, 0)).toBe('unknown_key')
    expect(verifyRoute(keysOf('b', 'new'), signed, 0)).toBe('valid')
    expect(verifyRoute(new Map(), signed, 0)).toBe('no_keys')
  })

  test('what lies between the fields cannot be moved from one to the other', () => {
    const moved = { id: 'sb\n8', port: 0, expires: route.expires }
    expect(signRoute(keys, 'b', moved)).not.toBe(signed.signature)
    expect(() => signRoute(keys, 'x', route)).toThrow('there is no such key')
  })
})
