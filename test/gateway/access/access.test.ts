import { describe, expect, test } from 'vitest'
import { type AccessSettings, decideAccess } from '../../../gateway/access/access.ts'
import { parseRequestHead } from '../../../gateway/http1/head.ts'
import { decideRoute } from '../../../gateway/routing/route.ts'

const SETTINGS: AccessSettings = {
  hasApiKey: false,
  guardsTraffic: false,
  domain: 'localhost',
  ownHosts: new Set(['edge.lan']),
}

type Asked = { method?: string; target?: string; host?: string; lines?: string[]; settings?: AccessSettings }

function decide({ method = 'GET', target = '/v1/sandboxes', host = 'localhost:8080', ...rest }: Asked) {
  const { lines = [], settings = SETTINGS } = rest
  const head = parseRequestHead(
    [`${method} ${target} HTTP/1.1`, `Host: ${host}`, ...lines, '', ''].join('\r\n'),
  )
  if ('problem' in head) throw new Error(head.problem)
  return decideAccess(decideRoute(head, settings.domain, settings.hasUris), head, settings)
}

describe('without an API key', () => {
  test.each(['localhost:8080', '127.0.0.1:8080', '127.1.2.3', '[::1]:8080', 'edge.lan:8080', 'EDGE.LAN.'])(
    'the API answers as %s',
    (host) => {
      expect(decide({ host })).toEqual({ action: 'allow' })
    },
  )

  test.each([
    'evil.com',
    'localhost.evil.com',
    '192.168.0.2:8080',
    'console.localhost',
    '0.0.0.0:8080',
    '[::2]',
  ])('the API does not answer as %s', (host) => {
    const verdict = { action: 'refuse', code: 'GENERAL::HOST_NOT_ALLOWED' }
    expect(decide({ host })).toMatchObject(verdict)
    expect(decide({ host, target: '/sandboxes/abc/proxy/80/' })).toMatchObject(verdict)
    expect(decide({ host, lines: ['OpenSandbox-Ingress-To: abc-80'] })).toMatchObject(verdict)
  })

  test.each(['http://localhost:8080', 'HTTP://LOCALHOST:8080', 'https://localhost:8080'])(
    'the API answers pages of its own origin %s',
    (origin) => {
      expect(decide({ lines: [`Origin: ${origin}`] })).toEqual({ action: 'allow' })
    },
  )

  test.each([
    'null',
    '',
    'http://localhost',
    'http://localhost:9090',
    'http://127.0.0.1:8080',
    'http://abc-80.localhost:8080',
    'http://evil.com',
    'http://localhost:8080.evil.com',
    'http://localhost:8080/',
    'http://localhost:8080, http://evil.com',
    'file://',
  ])('the API refuses pages of %j', (origin) => {
    expect(decide({ method: 'POST', lines: [`Origin: ${origin}`] })).toMatchObject({
      action: 'refuse',
      code: 'GENERAL::ORIGIN_NOT_ALLOWED',
    })
  })

  test('a foreign origin beside the own one is refused', () => {
    const lines = ['Origin: http://localhost:8080', 'Origin: http://evil.com']
    expect(decide({ lines })).toMatchObject({ action: 'refuse' })
  })

  test('a sandbox judges the origins of its own callers', () => {
    const lines = ['Origin: http://elsewhere.example']
    expect(decide({ host: 'abc-80.localhost:8080', lines })).toEqual({ action: 'allow' })
    expect(decide({ target: '/sandboxes/abc/proxy/80/', lines })).toEqual({ action: 'allow' })
  })
})

describe('with an API key', () => {
  const settings = { ...SETTINGS, hasApiKey: true }
  test('hosts and origins are free', () => {
    expect(decide({ settings, host: 'evil.com', lines: ['Origin: null'] })).toEqual({ action: 'allow' })
  })
})

describe('a document of a sandbox opened by its path', () => {
  const lines = ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document']

  test.each([
    ['localhost:8080', '//abc-80.localhost:8080/x?y=1'],
    ['127.0.0.1:8080', '//abc-80.localhost:8080/x?y=1'],
    ['[::1]', '//abc-80.localhost/x?y=1'],
  ])('at %s is opened at %s', (host, location) => {
    for (const method of ['GET', 'HEAD', 'POST'])
      expect(decide({ method, host, target: '/sandboxes/abc/proxy/80/x?y=1', lines })).toEqual({
        action: 'redirect',
        location,
      })
  })

  test('is redirected when there is an API key too', () => {
    const settings = { ...SETTINGS, hasApiKey: true }
    expect(decide({ settings, target: '/sandboxes/abc/proxy/80', lines })).toMatchObject({
      location: '//abc-80.localhost:8080/',
    })
  })

  test('cannot lead to another host by its path', () => {
    expect(decide({ target: '/sandboxes/abc/proxy/80//evil.com', lines })).toMatchObject({
      location: '//abc-80.localhost:8080//evil.com',
    })
  })

  test.each(['cors', 'no-cors', 'same-origin', 'websocket'])('is served where it is for %s', (mode) => {
    expect(decide({ target: '/sandboxes/abc/proxy/80', lines: [`Sec-Fetch-Mode: ${mode}`] })).toEqual({
      action: 'allow',
    })
  })

  test('under its own name or by header needs no redirect', () => {
    expect(decide({ host: 'abc-80.localhost', target: '/', lines })).toEqual({ action: 'allow' })
    expect(decide({ target: '/', lines: [...lines, 'OpenSandbox-Ingress-To: abc-80'] })).toEqual({
      action: 'allow',
    })
  })
})

test.each([
  ['/sandboxes/abc/proxy/80/sw.js', SETTINGS, 'refuse'],
  ['/v1/sandboxes/abc/proxy/80/sw.js', { ...SETTINGS, hasApiKey: true }, 'refuse'],
  ['/abc/80/sw.js', { ...SETTINGS, hasUris: true }, 'refuse'],
  ['/sw.js', SETTINGS, 'allow'],
] as const)('the script of a service worker at %s', (target, settings, action) => {
  const host = action === 'allow' ? 'abc-80.localhost:8080' : 'localhost:8080'
  const verdict = decide({ target, host, lines: ['Service-Worker: script'], settings })
  expect(verdict).toMatchObject(
    action === 'allow' ? { action } : { action, code: 'GENERAL::FORBIDDEN', message: expect.any(String) },
  )
})
