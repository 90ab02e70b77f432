import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  findCgroups,
  parseCfsQuota,
  parseCount,
  parseCpuMax,
  parseMemoryLimit,
  parseStat,
} from '../../../execd/metrics/cgroup.ts'

const V1_MOUNTS = `22 1 254:1 / / rw,relatime - ext4 /dev/root rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
const V2_MOUNTS = '29 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n'

describe('findCgroups()', () => {
  test.each([
    [
      'version 1, in a namespace of its own',
      '9:memory:/\n4:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n',
      V1_MOUNTS,
      {
        v1: {
          memory: ['/sys/fs/cgroup/memory'],
          cpu: ['/sys/fs/cgroup/cpu,cpuacct'],
          cpuacct: ['/sys/fs/cgroup/cpu,cpuacct'],
        },
        v2: ['/sys/fs/cgroup/unified'],
      },
    ],
    [
      'version 1, below a limit of others',
      '9:memory:/pool/a1\n',
      V1_MOUNTS,
      {
        v1: {
          memory: ['/sys/fs/cgroup/memory/pool/a1', '/sys/fs/cgroup/memory/pool', '/sys/fs/cgroup/memory'],
        },
        v2: [],
      },
    ],
    ['version 2', '0::/\n', V2_MOUNTS, { v1: {}, v2: ['/sys/fs/cgroup'] }],
    [
      'version 2, in a slice',
      '0::/user.slice/a\n',
      V2_MOUNTS,
      { v1: {}, v2: ['/sys/fs/cgroup/user.slice/a', '/sys/fs/cgroup/user.slice', '/sys/fs/cgroup'] },
    ],
    [
      'a mount that shows only our own part, as containers without a cgroup namespace have it',
      '9:memory:/docker/abc/inner\n',
      '35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n',
      { v1: { memory: ['/sys/fs/cgroup/memory/inner', '/sys/fs/cgroup/memory'] }, v2: [] },
    ],
    [
      'a mount of another namespace',
      '9:memory:/\n',
      '35 31 0:32 /../.. /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n',
      { v1: { memory: ['/sys/fs/cgroup/memory'] }, v2: [] },
    ],
    [
      'a cgroup outside of what its namespace shows',
      '0::/../other\n',
      V2_MOUNTS,
      { v1: {}, v2: ['/sys/fs/cgroup'] },
    ],
    [
      'a mount point with a blank',
      '0::/\n',
      '29 23 0:26 / /my\\040cgroups rw - cgroup2 cgroup rw\n',
      { v1: {}, v2: ['/my cgroups'] },
    ],
    ['nothing mounted', '9:memory:/\n0::/\n', '22 1 254:1 / / rw - ext4 /dev/root rw\n', { v1: {}, v2: [] }],
    ['nothing at all', '', '', { v1: {}, v2: [] }],
  ])('finds %s', (_what, membership, mountinfo, expected) => {
    expect(findCgroups(membership, mountinfo)).toEqual(expected)
  })

  test('takes any text', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (membership, mountinfo) => {
        findCgroups(membership, mountinfo)
      }),
    )
  })
})

test.each([
  ['max 100000\n', undefined],
  ['50000 100000\n', 0.5],
  ['150000 50000\n', 3],
  ['100000\n', 1],
  ['', undefined],
  ['x y', undefined],
])('parseCpuMax(%j) is %s', (text, cpus) => {
  expect(parseCpuMax(text)).toBe(cpus)
})

test.each([
  ['-1\n', '100000\n', undefined],
  ['100000\n', '100000\n', 1],
  ['25000\n', '100000\n', 0.25],
  ['', '', undefined],
  ['100000', '0', undefined],
])('parseCfsQuota(%j, %j) is %s', (quota, period, cpus) => {
  expect(parseCfsQuota(quota, period)).toBe(cpus)
})

test.each([
  ['max\n', undefined],
  ['536870912\n', 536_870_912],
  ['9223372036854771712\n', undefined],
  ['0\n', undefined],
  ['', undefined],
])('parseMemoryLimit(%j) is %s', (text, bytes) => {
  expect(parseMemoryLimit(text)).toBe(bytes)
})

test.each([
  ['usage_usec 12\nuser_usec 5\n', 'usage_usec', 12],
  ['low 0\noom 1\noom_kill 3\n', 'oom_kill', 3],
  ['oom_kill_disable 0\noom_kill 2\n', 'oom_kill', 2],
  ['inactive_file 5\ntotal_inactive_file 7\n', 'total_inactive_file', 7],
  ['a 1\n', 'b', undefined],
  ['a x\n', 'a', undefined],
  ['', 'a', undefined],
])('parseStat(%j, %j) is %s', (text, name, value) => {
  expect(parseStat(text, name)).toBe(value)
})

test.each([
  ['12\n', 12],
  ['', undefined],
  ['max\n', undefined],
  ['-1\n', undefined],
])('parseCount(%j) is %s', (text, value) => {
  expect(parseCount(text)).toBe(value)
})
