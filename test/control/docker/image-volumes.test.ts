// What becomes of what an image declares as VOLUME.

import { describe, expect, test } from 'vitest'
import { type Declared, planImageVolumes } from '../../../control/runtime/docker/image-volumes.ts'

const ASKED: Declared = { declared: [], targets: ['/mnt/x/'], prefix: 'p', isLimited: false }

describe('planImageVolumes()', () => {
  test.each<[string, string[], string[]]>([
    ['nothing', [], []],
    ['each once, in a fixed order', ['/var/lib/b', '/a/', '/a', '/a//.'], ['/a', '/var/lib/b']],
    ['not where something is mounted anyway', ['/mnt/x', '/mnt/x/y', '/mnt'], ['/mnt', '/mnt/x/y']],
    ['not the root, nor what is no path', ['/', '//', 'relative', ''], []],
  ])('plans %s', (_what, declared, targets) => {
    const planned = planImageVolumes({ ...ASKED, declared })
    expect(planned).toEqual(targets.map((target, at) => ({ name: `p.${at}`, target })))
  })

  test('refuses a limited disk, naming what would not be counted, unless something is mounted there', () => {
    const limited = { ...ASKED, isLimited: true }
    expect(() => planImageVolumes({ ...limited, declared: ['/data'] })).toThrow(/"\/data".*VOLUME.*disk/)
    expect(planImageVolumes({ ...limited, declared: ['/mnt/x'] })).toEqual([])
  })

  test('refuses more than anybody needs', () => {
    const declared = Array.from({ length: 65 }, (_, at) => `/v${at}`)
    expect(() => planImageVolumes({ ...ASKED, declared })).toThrow(/65 volumes.*64/)
    expect(planImageVolumes({ ...ASKED, declared: declared.slice(1) })).toHaveLength(64)
  })
})
