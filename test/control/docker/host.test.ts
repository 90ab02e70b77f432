// Where a daemon is, and how it is spoken to there.

import { describe, expect, test } from 'vitest'
import { type DaemonPlace, placeOf, type Reaching, showPlace } from '../../../control/runtime/docker/host.ts'
import { sshArguments } from '../../../control/runtime/docker/ssh-tunnel.ts'

const SOCKET = '/var/run/docker.sock'
const TLS = { certPath: '/certs' }

describe('placeOf()', () => {
  test.each<[Reaching, DaemonPlace]>([
    [{}, { kind: 'socket', path: SOCKET }],
    [{ host: '' }, { kind: 'socket', path: SOCKET }],
    [{ host: 'unix:///run/other.sock' }, { kind: 'socket', path: '/run/other.sock' }],
    // DOCKER_TLS_VERIFY is in many an environment.
    [
      { host: 'unix:///run/other.sock', tlsVerify: true },
      { kind: 'socket', path: '/run/other.sock' },
    ],
    [{ host: '/run/other.sock' }, { kind: 'socket', path: '/run/other.sock' }],
    [{ host: 'tcp://127.0.0.1:2375' }, { kind: 'plain', host: '127.0.0.1', port: 2375 }],
    [{ host: 'tcp://localhost' }, { kind: 'plain', host: 'localhost', port: 2375 }],
    [{ host: 'http://[::1]:1' }, { kind: 'plain', host: '::1', port: 1 }],
    [
      { host: 'tcp://10.0.0.1:9', allowPlaintext: true },
      { kind: 'plain', host: '10.0.0.1', port: 9 },
    ],
    [
      { host: 'tcp://10.0.0.1:9', ...TLS },
      { kind: 'tls', host: '10.0.0.1', port: 9, ...TLS },
    ],
    [
      { host: 'tcp://d.example', tlsVerify: true },
      { kind: 'tls', host: 'd.example', port: 2376 },
    ],
    [
      { host: 'tcp://127.0.0.1:9', tlsVerify: true, ...TLS },
      { kind: 'tls', host: '127.0.0.1', port: 9, ...TLS },
    ],
    [
      { host: 'tcp://127.0.0.1:9', tlsVerify: false, ...TLS },
      { kind: 'plain', host: '127.0.0.1', port: 9 },
    ],
    [
      { host: 'https://d.example/', tlsVerify: false },
      { kind: 'tls', host: 'd.example', port: 443 },
    ],
    [{ host: 'ssh://d.example' }, { kind: 'ssh', host: 'd.example', socket: SOCKET }],
    [
      { host: 'ssh://me@d.example:2222/run/d.sock' },
      { kind: 'ssh', host: 'd.example', port: 2222, user: 'me', socket: '/run/d.sock' },
    ],
  ])('%j', (given, place) => {
    expect(placeOf(given)).toEqual(place)
  })

  test.each([
    'unix://relative',
    'example',
    'npipe:////./pipe/docker_engine',
    'tcp://',
    'tcp://d.example:0',
    'tcp://d.example:65536',
    'tcp://d.example/path',
    'tcp://user:secret@d.example',
    'ssh://user:secret@d.example',
    'ssh://-oProxyCommand=secret@d.example',
    'ssh://-oProxyCommand=x',
    'ssh://d.example/a:b',
    'https://d.example?x=secret',
  ])('refuses %s, says what is allowed, and shows no login', (host) => {
    expect(() => placeOf({ host, tlsVerify: true })).toThrow(/must be "unix:.*"ssh:/)
    expect(() => placeOf({ host, tlsVerify: true })).not.toThrow(/@d\.example.*secret|:secret@/)
  })

  test('refuses to speak without TLS to another machine, and says what to set', () => {
    expect(() => placeOf({ host: 'tcp://10.0.0.1:2375' })).toThrow(/without TLS.*docker\.cert_path/)
    expect(() => placeOf({ host: 'tcp://10.0.0.1:2375', ...TLS, tlsVerify: false })).toThrow(/without TLS/)
  })
})

test.each<[DaemonPlace, string]>([
  [{ kind: 'socket', path: '/run/d.sock' }, '/run/d.sock'],
  [{ kind: 'tls', host: '::1', port: 2 }, 'https://[::1]:2'],
  [{ kind: 'plain', host: 'a', port: 2 }, 'tcp://a:2'],
  [{ kind: 'ssh', host: 'a', user: 'me', socket: SOCKET }, 'ssh://me@a'],
])('showPlace(%j) is %s', (place, shown) => {
  expect(showPlace(place)).toBe(shown)
})

test('sshArguments() asks for a known host and no password, and ends what could be read as options', () => {
  const args = sshArguments(
    { kind: 'ssh', host: 'd.example', user: 'me', port: 22, socket: SOCKET },
    '/l',
    '/c',
  )
  expect(args.slice(0, 2)).toEqual(['-F', '/c'])
  for (const option of ['StrictHostKeyChecking=yes', 'BatchMode=yes', 'ForwardAgent=no'])
    expect(args).toContain(option)
  expect(args.slice(-8)).toEqual(['-p', '22', '-l', 'me', '-L', `/l:${SOCKET}`, '--', 'd.example'])
})
