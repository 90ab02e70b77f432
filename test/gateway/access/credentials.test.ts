import { describe, expect, test } from 'vitest'
import {
  formatShareCookie,
  readCredentials,
  withoutLink,
  withoutShareCookies,
} from '../../../gateway/access/credentials.ts'
import { parseRequestHead } from '../../../gateway/http1/head.ts'
import { formatShareToken, parseShareToken } from '../../../lib/share-link.ts'

const ID = '0123456789abcdef'
const SECRET = 'a'.repeat(64)

function read(target: string, ...lines: string[]) {
  const head = parseRequestHead(
    [`GET ${target} HTTP/1.1`, 'Host: a-80.localhost', ...lines, '', ''].join('\r\n'),
  )
  if ('problem' in head) throw new Error(head.problem)
  return readCredentials(head, head.target)
}

describe('what a request shows', () => {
  test('nothing', () => {
    expect(read('/?a=b', 'Cookie: a=b')).toEqual({ isInAddress: false, cookies: [] })
  })

  test('the token of the sandbox: the first one, also when it is empty', () => {
    expect(read('/', 'OpenSandbox-Secure-Access:  x ').token).toBe('x')
    expect(read('/', 'opensandbox-secure-access: ', 'OpenSandbox-Secure-Access: x').token).toBe('')
  })

  test('a link, in its field or in the address', () => {
    expect(read('/', 'OpenSandbox-Share: x')).toMatchObject({ link: 'x', isInAddress: false })
    expect(read('/?a&opensandbox_share=x&b')).toMatchObject({ link: 'x', isInAddress: true })
    expect(read('/?opensandbox_share=y', 'OpenSandbox-Share: x')).toMatchObject({
      link: 'x',
      isInAddress: false,
    })
    expect(read('/opensandbox_share=x?xopensandbox_share=x').link).toBeUndefined()
  })

  test('cookies for links, however they are mixed with others', () => {
    const cookie = `a=b; opensandbox-share-${ID}=x;__Host-opensandbox-share-${ID}=y; opensandbox-share-no=z; opensandbox-share-=`
    expect(read('/', `Cookie: ${cookie}`).cookies).toEqual([
      { id: ID, secret: 'x' },
      { id: ID, secret: 'y' },
    ])
  })
})

describe('what goes on to the sandbox', () => {
  test.each([
    ['/', '/'],
    ['/a?opensandbox_share=x', '/a'],
    ['/a?opensandbox_share=x&b=%20+&c', '/a?b=%20+&c'],
    ['/a?b&&opensandbox_share=x', '/a?b&'],
    ['/a?b&opensandbox_share=x&opensandbox_share=y', '/a?b'],
    ['/a?opensandbox_share', '/a?opensandbox_share'],
    ['/a?b?opensandbox_share=x', '/a?b?opensandbox_share=x'],
  ])('the target %s as %s', (target, kept) => {
    expect(withoutLink(target)).toBe(kept)
  })

  test.each([
    ['a=b;c = "d, e" ; f', 'a=b;c = "d, e" ; f'],
    [`opensandbox-share-${ID}=x`, ''],
    [`a=b; opensandbox-share-${ID}=x; c=d`, 'a=b; c=d'],
    [`__Host-opensandbox-share-${ID}=x; c=d`, 'c=d'],
    [`opensandbox-share-=x; my-opensandbox-share-a=b`, 'my-opensandbox-share-a=b'],
  ])('the cookies %s as %s', (value, kept) => {
    expect(withoutShareCookies(value)).toBe(kept)
  })
})

test('a cookie is for this host alone, for no script, and ends with its link', () => {
  const cookie = { id: ID, secret: SECRET }
  expect(formatShareCookie(cookie, { maxAgeSeconds: 60, isEncrypted: false })).toBe(
    `Set-Cookie: opensandbox-share-${ID}=${SECRET}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax\r\n`,
  )
  expect(formatShareCookie(cookie, { maxAgeSeconds: 60, isEncrypted: true })).toBe(
    `Set-Cookie: __Host-opensandbox-share-${ID}=${SECRET}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure\r\n`,
  )
})

test('the token of a link is read as it is written, and nothing else is one', () => {
  const token = formatShareToken({ id: ID, secret: SECRET })
  expect(parseShareToken(token)).toEqual({ id: ID, secret: SECRET })
  for (const wrong of ['', 'oss_', token.slice(1), `${token}0`, token.toUpperCase(), `${token}\n`])
    expect(parseShareToken(wrong), wrong).toBeUndefined()
})
