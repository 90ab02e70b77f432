import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createOwnership, loadSecret } from '../../../control/runtime/docker/ownership.ts'

const ours = createOwnership('ab12', 'secret')
const container = (id: string, labels = ours.labelsOf(id)) => ({ name: `/${ours.nameOf(id)}`, labels })

describe('idOf()', () => {
  test('knows what labelsOf() and nameOf() have marked', () => {
    expect(ours.idOf(container('s1'))).toBe('s1')
    expect(ours.idOf({ ...container('s1'), name: ours.nameOf('s1') })).toBe('s1')
  })

  test.each<[string, { name: string; labels: Record<string, string> }]>([
    ['another name', { ...container('s1'), name: '/mine' }],
    ['the name of another sandbox', { ...container('s1'), name: `/${ours.nameOf('s2')}` }],
    ['another installation', { ...container('s1'), name: '/opensandbox-cd34-s1' }],
    ['no labels', container('s1', {})],
    ['an empty proof', container('s1', { ...ours.labelsOf('s1'), 'opensandbox.io/proof': '' })],
    ['the proof of another sandbox', container('s1', ours.labelsOf('s2'))],
    ['a proof by another secret', container('s1', createOwnership('ab12', 'other').labelsOf('s1'))],
    [
      'a proof that is longer',
      container('s1', {
        ...ours.labelsOf('s1'),
        'opensandbox.io/proof': `${ours.labelsOf('s1')['opensandbox.io/proof']}0`,
      }),
    ],
    ['a proof of other characters', container('s1', { 'opensandbox.io/proof': 'é'.repeat(16) })],
  ])('S5: knows nothing with %s', (_what, found) => {
    expect(ours.idOf(found)).toBeUndefined()
  })
})

test('snapshotOf() knows the snapshots of this installation, and no proof of anything else', () => {
  const labels = ours.snapshotLabelsOf('p1')
  expect(ours.snapshotOf(labels)).toBe('p1')
  const proof = 'opensandbox.io/snapshot-proof'
  for (const forged of [
    {},
    { 'opensandbox.io/snapshot': 'p1' },
    { ...labels, 'opensandbox.io/snapshot': 'p2' },
    { ...labels, [proof]: ours.labelsOf('p1')['opensandbox.io/proof'] ?? '' },
    createOwnership('ab12', 'other').snapshotLabelsOf('p1'),
  ])
    expect(ours.snapshotOf(forged as Record<string, string>)).toBeUndefined()
})

test('loadSecret() makes a secret once, for root alone', () => {
  const folder = mkdtempSync(join(tmpdir(), 'docker-secret-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const secret = loadSecret(folder)
  expect(secret.length).toBeGreaterThanOrEqual(32)
  expect(loadSecret(folder)).toBe(secret)
  expect(statSync(join(folder, 'docker-secret')).mode & 0o777).toBe(0o600)
})
