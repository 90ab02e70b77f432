import { expect, test } from 'vitest'
import type { NftObject } from '../../../egress/nft/apply.ts'
import { findOwnCgroup, probeOwnCgroup } from '../../../egress/sidecar/own-cgroup.ts'

const mount = (root: string, point: string) =>
  `25 30 0:22 / /proc rw - proc proc rw\n34 25 0:28 ${root} ${point} ro,nosuid shared:9 - cgroup2 cgroup rw\n`

test.each([
  ['a container that sees itself as the root', '0::/\n', mount('/', '/sys/fs/cgroup'), '.'],
  ['a process of a machine', '0::/pod/egress\n', mount('/', '/sys/fs/cgroup'), 'pod/egress'],
  [
    'both versions side by side',
    '4:memory:/a\n0::/pod\n',
    mount('/', '/sys/fs/cgroup/unified'),
    'unified/pod',
  ],
  ['a part of the tree', '0::/pods/one/egress\n', mount('/pods/one', '/sys/fs/cgroup'), 'egress'],
])('%s is found', (_, cgroup, mountinfo, path) => {
  expect(findOwnCgroup({ cgroup, mountinfo, exists: (file) => file.endsWith('/cgroup.events') })).toBe(path)
})

test.each([
  ['version 1 alone', '4:memory:/a\n', mount('/', '/sys/fs/cgroup'), true, 'version 2 of control groups'],
  ['none that is mounted', '0::/\n', '25 30 0:22 / /proc rw - proc proc rw\n', true, 'version 2'],
  ['one that nft does not look into', '0::/\n', mount('/', '/run/cgroup'), true, 'version 2'],
  ['a part that is not its own', '0::/a\n', mount('/b', '/sys/fs/cgroup'), true, 'does not show'],
  ['what lies above its root', '0::/../a\n', mount('/', '/sys/fs/cgroup'), true, 'does not show'],
  ['the root of all', '0::/\n', mount('/', '/sys/fs/cgroup'), false, 'in a container of its own'],
])('%s is refused', (_, cgroup, mountinfo, exists, problem) => {
  expect(() => findOwnCgroup({ cgroup, mountinfo, exists: () => exists })).toThrow(problem)
})

const counted = (...packets: number[]): NftObject[] =>
  packets.map((count, level) => ({
    rule: { handle: level, comment: String(level), chain: 'levels', expr: [{ counter: { packets: count } }] },
  }))

test.each([
  ['the level that has counted', counted(0, 0, 1, 0), { path: 'a', level: 2 }],
  ['no level', counted(0, 0), undefined],
  ['two levels', counted(1, 1), undefined],
])('the depth is told by %s', async (_, listed, found) => {
  const applied: string[] = []
  const nft = {
    apply: async (script: string) => void applied.push(script),
    list: async () => listed,
  }
  const probed = probeOwnCgroup(nft, 'a')
  if (found) expect(await probed).toEqual(found)
  else await expect(probed).rejects.toThrow('the kernel does not know its sockets by "a"')
  // Nothing of it stays.
  expect(applied.at(-1)).toBe('delete table inet opensandbox_probe\n')
})
