import { describe, expect, test } from 'vitest'
import {
  formatHost,
  isLoopbackName,
  isSandboxId,
  nameOf,
  parseHost,
  parseIngressTo,
  parsePort,
  parseToken,
  portSuffixOf,
} from '../../../gateway/routing/host.ts'

describe('parseToken()', () => {
  test.each([
    ['sandbox-1234', 'sandbox', 1234],
    ['alpha-beta-8080', 'alpha-beta', 8080],
    ['a-b-c-d-8080', 'a-b-c-d', 8080],
    ['a-1', 'a', 1],
    ['a-65535', 'a', 65535],
    ['0a-80', '0a', 80],
    ['12345-80', '12345', 80],
    ['ABC-80', 'ABC', 80],
    ['a_b-80', 'a_b', 80],
    ['3f2b7c1e-0000-4000-8000-123456789abc-8080', '3f2b7c1e-0000-4000-8000-123456789abc', 8080],
  ])('reads %s', (token, id, port) => {
    expect(parseToken(token)).toEqual({ id, port })
  })

  test.each([
    ['alpha-beta-8080-1a2b3c-abcdef12k', 'alpha-beta', 8080, '1a2b3c', 'abcdef12k'],
    ['sb-42-0-8ccd73a1a', 'sb', 42, '0', '8ccd73a1a'],
    ['alpha-beta-8080-3w5e11264sgsf-2ad91bfek', 'alpha-beta', 8080, '3w5e11264sgsf', '2ad91bfek'],
  ])('reads %s with its signature', (token, id, port, expires, signature) => {
    expect(parseToken(token)).toEqual({ id, port, signed: { expires, signature } })
    expect(formatHost({ id, port, signed: { expires, signature } }, 'localhost')).toBe(`${token}.localhost`)
  })

  test.each([
    '',
    '-',
    'a',
    'a-',
    '-80',
    '--80',
    'a--80',
    '-a-80',
    'a-0',
    'a-080',
    'a-+80',
    'a--1',
    'a-65536',
    'a-99999',
    'a-123456',
    'a-8o',
    'a-80 ',
    ' a-80',
    'a b-80',
    'a.b-80',
    'a/b-80',
    'ä-80',
    'a%2f-80',
    'a-80:80',
    'sb-08080-0-abcdef12k',
    'sb-8080-0-ABCDEF12k',
    'sb-8080-00-abcdef12k',
    'sb-8080-zzzzzzzzzzzzz-abcdef12k',
    'sb-8080-0-abcdef1',
    `${'a'.repeat(129)}-80`,
  ])('refuses %j', (token) => {
    expect(parseToken(token)).toBeUndefined()
  })
})

describe('parseHost()', () => {
  const sandbox = (id: string, port: number) => ({ kind: 'sandbox', address: { id, port } })

  test.each([
    ['abc-8000.localhost', 'localhost', sandbox('abc', 8000)],
    ['abc-8000.localhost:8080', 'localhost', sandbox('abc', 8000)],
    ['ABC-8000.LocalHost:8080', 'localhost', sandbox('abc', 8000)],
    ['abc-8000.localhost.:8080', 'localhost', sandbox('abc', 8000)],
    ['a-b-1.sandboxes.example.com', 'sandboxes.example.com', sandbox('a-b', 1)],
    ['abc-8000.localhost:', 'localhost', sandbox('abc', 8000)],
  ])('finds the sandbox in %s', (host, domain, reading) => {
    expect(parseHost(host, domain)).toEqual(reading)
  })

  test.each([
    ['abc-0.localhost', 'localhost'],
    ['abc-65536.localhost', 'localhost'],
    ['abc-080.localhost', 'localhost'],
    ['-80.localhost', 'localhost'],
    ['x.abc-80.localhost', 'localhost'],
    ['a_-80.localhost', 'localhost'],
  ])('tells that %s is misspelt', (host, domain) => {
    expect(parseHost(host, domain).kind).toBe('invalid')
  })

  test.each([
    ['localhost', 'localhost'],
    ['localhost:8080', 'localhost'],
    ['.localhost', 'localhost'],
    ['127.0.0.1:8080', 'localhost'],
    ['[::1]:8080', 'localhost'],
    ['console.localhost', 'localhost'],
    ['abc-80.localhost.evil.com', 'localhost'],
    ['abc-80.notlocalhost', 'localhost'],
    ['abc-80.example.com', 'localhost'],
    ['abc-80', 'localhost'],
    ['abc-80.localhost', 'example.com'],
    ['example.com', 'example.com'],
    ['api.example.com', 'example.com'],
    ['abc-80xexample.com', 'example.com'],
  ])('leaves %s below %s alone', (host, domain) => {
    expect(parseHost(host, domain).kind).toBe('other')
  })

  test('undoes formatHost()', () => {
    const address = { id: 'a-b', port: 65535 }
    expect(parseHost(formatHost(address, 'localhost'), 'localhost')).toEqual({ kind: 'sandbox', address })
  })
})

test.each([
  ['a-80', 'a', 80],
  ['http://a-80', 'a', 80],
  ['https://alpha-beta-8080.sandbox.test', 'alpha-beta', 8080],
  ['https://http://a-80.x', 'a', 80],
  ['sandbox-1234.example.com', 'sandbox', 1234],
  ['sb-8080.gw:28888', 'sb', 8080],
])('parseIngressTo() reads %s', (value, id, port) => {
  expect(parseIngressTo(value)).toEqual({ id, port })
})

test.each(['invalidhost', '-1234.example.com', '127.0.0.1:28888', 'sb-8080:443', 'ftp://a-80', 'a-80/x'])(
  'parseIngressTo() refuses %s',
  (value) => {
    expect(parseIngressTo(value)).toBeUndefined()
  },
)

test.each([
  ['1', 1],
  ['65535', 65535],
  ['0', undefined],
  ['65536', undefined],
  ['00001', undefined],
  ['', undefined],
  ['1 ', undefined],
  ['１', undefined],
])('parsePort(%j) is %s', (text, port) => {
  expect(parsePort(text)).toBe(port)
})

test.each([
  ['localhost', true],
  ['LOCALHOST.:1', true],
  ['127.0.0.1:8080', true],
  ['127.255.0.9', true],
  ['[::1]:80', true],
  ['127.0.0.1.evil.com', false],
  ['localhost.evil.com', false],
  ['x.localhost', false],
  ['0.0.0.0', false],
  ['[::2]', false],
  ['10.0.0.1', false],
])('isLoopbackName(%s) is %s', (host, isLoopback) => {
  expect(isLoopbackName(host)).toBe(isLoopback)
})

test('names and ports of hosts come apart', () => {
  expect(nameOf('[::1]:80')).toBe('[::1]')
  expect(nameOf('[::1]')).toBe('[::1]')
  expect(nameOf('A.b.:1')).toBe('a.b')
  expect(portSuffixOf('a:80')).toBe(':80')
  expect(portSuffixOf('[::1]')).toBe('')
  expect(isSandboxId('..')).toBe(false)
})
