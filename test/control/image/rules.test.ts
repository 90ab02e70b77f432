// What is decided of images without touching one: how references are read, who may use what, and which ones go.

import { describe, expect, test } from 'vitest'
import { collectImages, decideCollection } from '../../../control/image/collect.ts'
import { decideFetch } from '../../../control/image/decide.ts'
import { loginFile } from '../../../control/image/login.ts'
import { formatReference, parseReference } from '../../../control/image/reference.ts'
import { targetOf } from '../../../control/image/resolve.ts'
import type { Images, StoredImage } from '../../../control/runtime/images.ts'
import { imagesByMountPoint } from '../../../control/runtime/local/images-in-use.ts'

const DIGEST = `sha256:${'0a'.repeat(32)}`

test.each([
  ['debian', 'docker.io/library/debian:latest'],
  ['library/debian:12', 'docker.io/library/debian:12'],
  ['docker.io/debian', 'docker.io/library/debian:latest'],
  ['index.docker.io/library/debian', 'docker.io/library/debian:latest'],
  ['team/app', 'docker.io/team/app:latest'],
  ['localhost/x', 'localhost/x:latest'],
  ['127.0.0.1:5000/a/b:c', '127.0.0.1:5000/a/b:c'],
  ['Registry.Example/a', 'Registry.Example/a:latest'],
  ['a/b_c/d__e/f.g/h--i:V1.2-x_y', 'docker.io/a/b_c/d__e/f.g/h--i:V1.2-x_y'],
  [`registry.example/a@${DIGEST}`, `registry.example/a@${DIGEST}`],
  [`debian:12@${DIGEST}`, `docker.io/library/debian@${DIGEST}`],
  [`a:${'t'.repeat(128)}`, `docker.io/library/a:${'t'.repeat(128)}`],
])('the reference "%s" is "%s" in full', (text, full) => {
  const parsed = parseReference(text)
  expect('reference' in parsed && formatReference(parsed.reference)).toBe(full)
})

test.each([
  ['', /""/],
  ['--help', /no part/],
  ['/etc/passwd', /no part/],
  ['a b', /no part/],
  ['UPPER/case', /capital letters/],
  ['host.example/UPPER', /capital letters/],
  ['a:tag:tag', /no part/],
  ['a:', /"" is no tag/],
  [`a:${'t'.repeat(129)}`, /no tag/],
  ['a/../b', /"\.\." is no part/],
  ['docker://debian', /no host|no part/],
  ['docker-archive:/etc/passwd', /no host|no tag/],
  ['user:pass@host.example/x', /what follows "@"/],
  ['a@sha256:00', /what follows "@"/],
  [`a@sha512:${'0'.repeat(128)}`, /what follows "@"/],
  [`a@${DIGEST}@${DIGEST}`, /what follows "@"/],
  ['-oProxy.example/x', /no host/],
  ['host.example:99999999/x', /no host/],
  ['a\nb', /no part/],
  ['a'.repeat(600), /longer than 512/],
])('"%s" is no reference', (text, problem) => {
  const parsed = parseReference(text)
  expect('problem' in parsed && parsed.problem).toMatch(problem)
})

test('an alias stands for what the configuration says, and only there a path is one', () => {
  const aliases = { mine: '/srv/image.tar', py: 'python:3.12', me: 'host' }
  expect(targetOf('mine', aliases)).toEqual({ kind: 'archive', path: '/srv/image.tar' })
  expect(targetOf('py', aliases)).toMatchObject({ reference: { repository: 'library/python', tag: '3.12' } })
  expect([targetOf('me', aliases), targetOf('host', {})]).toEqual([{ kind: 'host' }, { kind: 'host' }])
  expect(() => targetOf('/srv/image.tar', aliases)).toThrow('neither an alias')
  expect(targetOf('constructor', aliases)).toMatchObject({ kind: 'registry' })
})

const SHARED = { shared: 's' }
const GUARDED = { guarded: 'g' }
const NEVER = { action: 'refuse', reason: expect.stringContaining('"Never"') }

test.each([
  ['IfNotPresent', false, {}, { action: 'ask' }],
  ['IfNotPresent', false, SHARED, { action: 'use', found: 's' }],
  ['IfNotPresent', true, SHARED, { action: 'use', found: 's' }],
  ['IfNotPresent', false, GUARDED, { action: 'ask', keep: 'g' }],
  ['IfNotPresent', true, GUARDED, { action: 'ask', keep: 'g' }],
  ['IfNotPresent', true, { ...SHARED, ...GUARDED }, { action: 'use', found: 's' }],
  ['Always', false, SHARED, { action: 'ask' }],
  ['Always', true, GUARDED, { action: 'ask' }],
  ['Never', false, {}, NEVER],
  ['Never', false, SHARED, { action: 'use', found: 's' }],
  ['Never', false, GUARDED, NEVER],
  ['Never', true, GUARDED, NEVER],
] as const)('S7: %s, with a login: %s, of what is known %j: %j', (policy, hasLogin, known, decision) => {
  expect(decideFetch<string>(known, { policy, hasLogin })).toEqual(decision)
})

test('a login opens its own registry and no other', () => {
  const auths = (registry: string) =>
    Object.keys(
      (JSON.parse(loginFile(registry, { username: 'it', password: 'x' })) as { auths: object }).auths,
    )
  expect(auths('registry.example:5000')).toEqual(['registry.example:5000'])
  expect(auths('docker.io')).toEqual(['docker.io', 'https://index.docker.io/v1/'])
})

function stored(id: string, lastUsedAt: number, change: Partial<StoredImage> = {}): StoredImage {
  return {
    id,
    references: [],
    origin: 'registry',
    sizeBytes: 100,
    isShared: true,
    createdAt: 0,
    lastUsedAt,
    users: 0,
    isKept: false,
    ...change,
  }
}

describe('decideCollection()', () => {
  const all = [
    stored('new', 90),
    stored('old', 10),
    stored('used', 5, { users: 1 }),
    stored('kept', 1, { isKept: true }),
    stored('middle', 50),
  ]
  test.each([
    ['nothing without a bound', {}, []],
    ['what is older', { maxAgeMs: 50 }, ['old']],
    ['not what is just as old', { maxAgeMs: 90 }, []],
    ['nothing that fits', { maxBytes: 500 }, []],
    ['the least recently used beyond the size', { maxBytes: 499 }, ['old']],
    ['as many as it takes', { maxBytes: 300 }, ['old', 'middle']],
    ['all that may go, when what stays is too large by itself', { maxBytes: 0 }, ['old', 'middle', 'new']],
    ['by age and by size together', { maxAgeMs: 60, maxBytes: 350 }, ['old', 'middle']],
  ])('removes %s', (_what, limits, gone) => {
    expect(decideCollection(all, limits, 100).map(({ id }) => id)).toEqual(gone)
  })
})

test('collectImages() leaves what somebody has begun to use meanwhile, and says what is left', async () => {
  const images: Images = {
    list: async () => [stored('one', 1), stored('two', 2)],
    remove: async (id) => (id === 'one' ? 'in_use' : 'removed'),
    pull: async () => stored('none', 0),
  }
  const signal = new AbortController().signal
  const { removed, totalBytes } = await collectImages(images, { limits: { maxAgeMs: 1 }, now: 100, signal })
  expect([removed.map(({ id }) => id), totalBytes]).toEqual([['two'], 100])
})

test('imagesByMountPoint() reads what lies below an overlay, snapshots in between too', () => {
  const [one, two] = ['1'.repeat(32), '2'.repeat(32)]
  const text = `22 1 0:20 / /proc rw,nosuid - proc proc rw
641 27 0:88 / /run/o/roots/aa rw,relatime - overlay overlay rw,lowerdir=/d/images/${one}/rootfs,upperdir=/d/u,workdir=/d/w
642 27 0:89 / /run/o/roots/bb rw,relatime shared:9 - overlay overlay rw,lowerdir=/d/snapshots/x:/d/images/${two}/rootfs,upperdir=/d/u
643 27 0:90 / /other rw - overlay overlay rw,lowerdir=/var/lib/docker/l,upperdir=/u`
  expect(imagesByMountPoint(text)).toEqual(
    new Map([
      ['/run/o/roots/aa', [one]],
      ['/run/o/roots/bb', [two]],
    ]),
  )
})
