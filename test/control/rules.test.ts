// The pure rules: tables of what they take, refuse and decide.

import { describe, expect, test } from 'vitest'
import { takeListen } from '../../control/config.ts'
import { type HostFiles, makeSources, openMounts } from '../../control/sandbox/host-paths.ts'
import {
  parseCpu,
  parseDisk,
  parseGpu,
  parseMemory,
  requireDefaultDisk,
} from '../../control/sandbox/limits.ts'
import { parseMoment } from '../../control/sandbox/moment.ts'
import { decideStep, STEPS, type Step } from '../../control/sandbox/state.ts'

import { SANDBOX_STATES, type SandboxState } from '../../lib/api/lifecycle.ts'
import { formatTime } from '../../lib/api/lifecycle-parts.ts'

describe('decideStep()', () => {
  const next = (state: SandboxState, step: Step) => {
    const decision = decideStep(state, step)
    return decision.allowed ? decision.state : undefined
  }
  test.each<[SandboxState, Step, SandboxState | undefined]>([
    ['Pending', 'started', 'Running'],
    ['Pending', 'pause', undefined],
    ['Pending', 'exited', undefined],
    ['Running', 'pause', 'Pausing'],
    ['Running', 'resume', undefined],
    ['Running', 'started', undefined],
    ['Pausing', 'pause_failed', 'Running'],
    ['Pausing', 'paused', 'Paused'],
    ['Paused', 'resume', 'Resuming'],
    ['Paused', 'pause', undefined],
    ['Resuming', 'resume_failed', 'Paused'],
    ['Stopping', 'crashed', undefined],
    ['Stopping', 'resume', undefined],
    ['Terminated', 'started', undefined],
    ['Failed', 'paused', undefined],
  ])('%s, %s: %s', (state, step, wanted) => {
    expect(next(state, step)).toBe(wanted)
  })
  test('everything can be removed, and nothing else leaves Stopping', () => {
    for (const state of SANDBOX_STATES) expect(next(state, 'remove')).toBe('Stopping')
    for (const step of STEPS) if (step !== 'remove') expect(next('Stopping', step)).toBeUndefined()
  })
  test('what has ended comes back only by nothing', () => {
    for (const state of ['Terminated', 'Failed'] as const)
      for (const step of STEPS) if (step !== 'remove') expect(next(state, step)).toBeUndefined()
  })
  test('a refusal has a reason that can be read', () => {
    expect(decideStep('Failed', 'pause')).toEqual({
      allowed: false,
      reason: 'Cannot pause a sandbox that is Failed',
    })
  })
})

test.each([
  ['1', 1e9],
  ['0.5', 5e8],
  ['.25', 2.5e8],
  ['500m', 5e8],
  [' 2 ', 2e9],
  ['10m', 1e7],
])('parseCpu(%j) is %i', (text, nanoCpus) => {
  expect(parseCpu(text)).toBe(nanoCpus)
})

test.each(['', 'm', '0', '9m', '-1', '1e3', '1,5', 'NaN', 'Infinity', '4097', '1.5m', '1 m x'])(
  'parseCpu(%j) refuses',
  (text) => {
    expect(() => parseCpu(text)).toThrow('resourceLimits.cpu')
  },
)

test.each([
  ['512Mi', 536_870_912],
  ['512mi', 536_870_912],
  ['1G', 1e9],
  ['1gb', 1e9],
  ['1GiB', 2 ** 30],
  ['40000k', 4e7],
  ['67108864', 67_108_864],
  ['67108864b', 67_108_864],
  [' 64 Mi ', 67_108_864],
])('parseMemory(%j) is %i', (text, bytes) => {
  expect(parseMemory(text)).toBe(bytes)
})

test.each(['', 'Mi', '1.5Gi', '-1Gi', '0', '31Mi', '1Xi', '1Mim', '99999999999999999999', '9999999999Ti'])(
  'parseMemory(%j) refuses',
  (text) => {
    expect(() => parseMemory(text)).toThrow('resourceLimits.memory')
  },
)

describe('limits that a machine cannot hold', () => {
  const mebi = 2 ** 20
  test.each<[() => number, number | string]>([
    [() => parseCpu('2', 2), 2e9],
    [
      () => parseCpu('2001m', 2),
      'cpu must be at most "2", as this machine has so many CPUs, but it is "2001m"',
    ],
    [() => parseMemory('64Mi', 64 * mebi), 64 * mebi],
    [
      () => parseMemory('65Mi', 64 * mebi),
      'memory must be at most "64Mi", the memory of this machine, but it is "65Mi"',
    ],
    [() => parseDisk('16Mi', 64 * mebi), 16 * mebi],
    [() => parseDisk('2Gi'), 2 ** 31],
    [() => parseDisk('15Mi'), 'disk must be from "16Mi"'],
    [() => parseDisk('-1Gi'), 'disk must be a whole number'],
    [() => parseDisk('1.5Gi'), 'disk must be a whole number'],
    [() => parseDisk('65Mi', 64 * mebi), 'disk must be at most "64Mi", the size of this machine\'s disk'],
    [() => parseDisk('1Gi', 'no quota'), 'disk cannot be held here: no quota'],
    [() => parseDisk('junk', 'no quota'), 'disk must be a whole number'],
    [() => parseGpu('all', 'any'), -1],
    [() => parseGpu(' 2 '), 2],
    [() => parseGpu('0'), 'gpu must be a number of GPUs from "1"'],
    [() => parseGpu('-1'), 'gpu must be'],
    [() => parseGpu('1.5'), 'gpu must be'],
    [() => parseGpu('all', 'no driver'), 'gpu cannot be given here: no driver'],
  ])('%s', (parse, wanted) => {
    if (typeof wanted === 'string') expect(parse).toThrow(`resourceLimits.${wanted}`)
    else expect(parse()).toBe(wanted)
  })
})

test.each([
  ['2026-06-12T10:00:00Z', '2026-06-12T10:00:00Z'],
  ['2026-06-12t10:00:00z', '2026-06-12T10:00:00Z'],
  ['2026-06-12 10:00', '2026-06-12T10:00:00Z'],
  ['2026-06-12T10:00:00.5+05:30', '2026-06-12T04:30:00.500000Z'],
  ['2026-06-12T10:00:00-0100', '2026-06-12T11:00:00Z'],
  ['2024-02-29', '2024-02-29T00:00:00Z'],
  ['9999-12-31T23:59:59Z', '9999-12-31T23:59:59Z'],
  [0, '1970-01-01T00:00:00Z'],
  [1.5, '1970-01-01T00:00:01.500000Z'],
])('parseMoment(%j) is %s', (value, wanted) => {
  expect(formatTime(parseMoment(value) ?? Number.NaN)).toBe(wanted)
})

test.each([
  '',
  'now',
  '2023-02-29',
  '2026-13-01',
  '2026-06-12T24:00:00Z',
  '2026-06-12T10:60Z',
  '2026-06-12T10:00:00+25:00',
  '26-06-12',
  '2026-06-12T10:00:00Zjunk',
  '9'.repeat(30),
  Number.NaN,
  Number.POSITIVE_INFINITY,
  1e18,
])('parseMoment(%j) is none', (value) => {
  expect(parseMoment(value)).toBeUndefined()
})

describe('openMounts()', () => {
  const files = (links: Record<string, string>, made: string[] = []): HostFiles => ({
    realPath: async (path) => {
      if (made.includes(path)) return path
      const real = links[path]
      if (real === undefined) throw Object.assign(new Error('none'), { code: 'ENOENT' })
      return real
    },
    makeDirectory: async (path) => void made.push(path),
  })
  const mount = (source: string) => [{ source, target: '/d', readOnly: false }]
  const plain = { '/': '/', '/srv': '/srv', '/srv/a': '/srv/a' }

  test('gives the real path', async () => {
    const linked = files({ ...plain, '/srv/link': '/srv/a' })
    expect(await openMounts(mount('/srv/link'), ['/srv'], linked)).toEqual(mount('/srv/a'))
  })
  test('takes what is missing by where it would lie, and makes nothing yet', async () => {
    const made: string[] = []
    const linked = files({ ...plain, '/srv/link': '/srv/a' }, made)
    const opened = await openMounts(mount('/srv/link/new/deep'), ['/srv/a'], linked)
    expect(opened).toEqual(mount('/srv/a/new/deep'))
    expect(made).toEqual([])
    await makeSources(opened, linked)
    expect(made).toEqual(['/srv/a/new/deep'])
  })
  test('refuses a link that leads out', async () => {
    const escaping = files({ ...plain, '/srv/a/out': '/etc' })
    await expect(openMounts(mount('/srv/a/out'), ['/srv/a'], escaping)).rejects.toThrow('symbolic link')
    await expect(openMounts(mount('/srv/a/out/new'), ['/srv/a'], escaping)).rejects.toThrow('symbolic link')
  })
  test('refuses everything when the list names nothing that exists', async () => {
    await expect(openMounts(mount('/srv/a'), ['/gone'], files(plain))).rejects.toThrow('symbolic link')
  })
})

test.each([
  [['--port', '1'], { args: ['--port', '1'] }],
  [['--listen', '127.0.0.1:80', '--help'], { args: ['--help'], listen: { host: '127.0.0.1', port: 80 } }],
  [['--listen=[::1]:0'], { args: [], listen: { host: '::1', port: 0 } }],
])('takeListen(%j)', (args, wanted) => {
  expect(takeListen(args)).toEqual(wanted)
})

test.each([['80'], ['host:'], ['host:65536'], [':80'], ['a:b:80'], ['']])(
  'takeListen() refuses %j',
  (value) => {
    expect(() => takeListen(['--listen', value])).toThrow('--listen')
  },
)

describe('requireDefaultDisk()', () => {
  test.each([
    [undefined, 'no quotas'],
    [16 * 2 ** 20, undefined],
    [16 * 2 ** 20, 2 ** 30],
    [2 ** 30, 2 ** 30],
  ])('takes %j where a runtime holds %j', (bytes, ability) => {
    expect(() => requireDefaultDisk(bytes, ability)).not.toThrow()
  })

  test.each([
    [2 ** 30, 'no quotas', 'cannot be held: no quotas'],
    [16 * 2 ** 20 - 1, 2 ** 30, 'must be from 16777216 to 1073741824'],
    [2 ** 30 + 1, 2 ** 30, 'must be from 16777216 to 1073741824'],
  ])('refuses %j where a runtime holds %j', (bytes, ability, why) => {
    expect(() => requireDefaultDisk(bytes, ability)).toThrow(why)
  })
})
