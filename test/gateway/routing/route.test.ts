import { describe, expect, test } from 'vitest'
import { parseRequestHead, type RequestHead } from '../../../gateway/http1/head.ts'
import { decideRoute } from '../../../gateway/routing/route.ts'

function head(target: string, host = '127.0.0.1:8080', ...lines: string[]): RequestHead {
  const parsed = parseRequestHead([`GET ${target} HTTP/1.1`, `Host: ${host}`, ...lines, '', ''].join('\r\n'))
  if ('problem' in parsed) throw new Error(parsed.problem)
  return parsed
}
const decide = (...args: Parameters<typeof head>) => decideRoute(head(...args), 'localhost')

describe('by path', () => {
  test.each([
    ['/sandboxes/abc/proxy/80', '/', '/sandboxes/abc/proxy/80'],
    ['/sandboxes/abc/proxy/80/', '/', '/sandboxes/abc/proxy/80'],
    ['/sandboxes/abc/proxy/80?q=1', '/?q=1', '/sandboxes/abc/proxy/80'],
    ['/v1/sandboxes/abc/proxy/80/x%2Fy/../z?q=%20+', '/x%2Fy/../z?q=%20+', '/v1/sandboxes/abc/proxy/80'],
    ['/sandboxes/abc/proxy/80//x', '//x', '/sandboxes/abc/proxy/80'],
    ['/sandboxes/abc/proxy/80/v1/sandboxes', '/v1/sandboxes', '/sandboxes/abc/proxy/80'],
  ])('%s asks the sandbox for %s', (path, target, prefix) => {
    expect(decide(path)).toEqual({
      kind: 'sandbox',
      via: 'path',
      address: { id: 'abc', port: 80 },
      target,
      prefix,
    })
  })

  test.each(['0', '65536', '080', '99999999999999999999'])('port %s is refused', (port) => {
    expect(decide(`/sandboxes/abc/proxy/${port}/`)).toMatchObject({
      kind: 'invalid',
      code: 'DOCKER::INVALID_PORT',
    })
  })

  test.each([
    '/',
    '/health',
    '/v1/sandboxes',
    '/sandboxes/abc',
    '/sandboxes/abc/proxy',
    '/sandboxes/abc/proxy/',
    '/sandboxes/abc/proxy/8080x',
    '/sandboxes/abc/proxy/x',
    '/sandboxes//proxy/80',
    '/sandboxes/../proxy/80',
    '/sandboxes/a/b/proxy/80',
    '/foo/sandboxes/abc/proxy/80',
    '/v2/sandboxes/abc/proxy/80',
    '/sandboxes/a%2fb/proxy/80',
    '/Sandboxes/abc/proxy/80',
    '//sandboxes/abc/proxy/80',
    '/sandboxes/abc/proxy/-80',
    '/sandboxes/abc?/proxy/80',
  ])('%s is control’s', (path) => {
    expect(decide(path)).toEqual({ kind: 'control' })
  })
})

test('a host name beats the path, which then belongs to the sandbox', () => {
  expect(decide('/sandboxes/other/proxy/1/x', 'abc-80.localhost:8080')).toMatchObject({
    via: 'host',
    address: { id: 'abc', port: 80 },
    target: '/sandboxes/other/proxy/1/x',
  })
  expect(decide('/status.ok', 'abc-80.localhost')).toMatchObject({ kind: 'sandbox' })
  expect(decide('/status.ok')).toEqual({ kind: 'health' })
})

test('the routing header beats the host name', () => {
  const route = decide('/x', 'abc-80.localhost', 'OpenSandbox-Ingress-To: def-81')
  expect(route).toMatchObject({ via: 'header', address: { id: 'def', port: 81 }, target: '/x' })
})

test('the older routing header is read when the newer is missing or empty', () => {
  expect(decide('/', undefined, 'OPEN-SANDBOX-INGRESS: def-81')).toMatchObject({ address: { id: 'def' } })
  expect(decide('/', undefined, 'OpenSandbox-Ingress-To:', 'OPEN-SANDBOX-INGRESS: def-81')).toMatchObject({
    address: { id: 'def' },
  })
  expect(
    decide('/', undefined, 'OPEN-SANDBOX-INGRESS: old-1', 'OpenSandbox-Ingress-To: new-2'),
  ).toMatchObject({ address: { id: 'new' } })
  expect(decide('/', undefined, 'OpenSandbox-Ingress-To:')).toEqual({ kind: 'control' })
})

test.each([
  [['OpenSandbox-Ingress-To: nonsense']],
  [['OpenSandbox-Ingress-To: a-1', 'OpenSandbox-Ingress-To: b-2']],
  [['OpenSandbox-Ingress-To: a-1', 'OpenSandbox-Ingress-To: a-1']],
  [['OpenSandbox-Ingress-To: a-1', 'OPEN-SANDBOX-INGRESS: x-1', 'OpenSandbox-Ingress-To: a-1']],
  [['OpenSandbox-Ingress-To: a-0']],
])('the routing headers %j are refused', (lines) => {
  expect(decide('/', undefined, ...lines)).toMatchObject({ kind: 'invalid', code: 'GENERAL::BAD_REQUEST' })
})

test('a misspelt sandbox name is refused and does not reach control', () => {
  expect(decide('/v1/sandboxes', 'abc-99999.localhost')).toMatchObject({ kind: 'invalid' })
})

describe('by a path of its own', () => {
  const byUri = (target: string, hasUris = true) => decideRoute(head(target), 'localhost', hasUris)
  const signed = { expires: '1a2b3c', signature: '01234567a' }

  test.each([
    ['/my-sandbox/8080', '/', '/my-sandbox/8080'],
    ['/sb/8080/', '/', '/sb/8080'],
    ['/sb/8080/hello?a=1&b=2', '/hello?a=1&b=2', '/sb/8080'],
    ['/sb/8080?a', '/?a', '/sb/8080'],
    ['/sb/8080//x%2F..', '//x%2F..', '/sb/8080'],
    ['/sb/9090/1a2b3c/01234567A/x', '/1a2b3c/01234567A/x', '/sb/9090'],
  ])('G10: %s asks the sandbox for %s, unchanged', (path, target, prefix) => {
    expect(byUri(path)).toMatchObject({ kind: 'sandbox', via: 'uri', target, prefix })
    expect(byUri(path, false)).toEqual({ kind: 'control' })
  })

  test.each([
    ['/sb/9090/1a2b3c/01234567a/extra/path?q', '/extra/path?q'],
    ['/sb/9090/1a2b3c/01234567a', '/'],
    ['/sb/9090/1a2b3c/01234567a?q', '/?q'],
  ])('%s is signed and asks for %s', (path, target) => {
    const unsigned = { target: path.slice('/sb/9090'.length), prefix: '/sb/9090' }
    const route = {
      kind: 'sandbox',
      via: 'uri',
      address: { id: 'sb', port: 9090, signed },
      target,
      prefix: '/sb/9090/1a2b3c/01234567a',
    }
    expect(byUri(path, false)).toEqual(route)
    expect(byUri(path)).toEqual({ ...route, unsigned })
  })

  test.each([
    '/',
    '/sb',
    '/sb/08080',
    '/sb/0',
    '/sb/65536',
    '/-sb/80',
    '/v1/80',
    '/sandboxes/80',
    '/sb/80x',
    '/events/80/1/01234567a',
  ])('%s is none', (path) => {
    expect(byUri(path)).toEqual({ kind: 'control' })
  })
})
