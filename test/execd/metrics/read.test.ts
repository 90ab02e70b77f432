// What is read on each kind of host, told by the files that it would have.

import { describe, expect, test } from 'vitest'
import { createReadings, readDisk, type System } from '../../../execd/metrics/read.ts'

function systemOf(files: Record<string, string>): System {
  return {
    read: (path) => files[path],
    list: (path) => (path === '/proc' ? ['1', '23', 'self', 'meminfo', '7'] : []),
    now: () => 5000,
  }
}

const HOST = {
  '/proc/meminfo': 'MemTotal: 8388608 kB\nMemAvailable: 6291456 kB\n',
  '/proc/stat': 'cpu  100 0 100 9000 0 0 0 0\ncpu0 0 0 0 0\ncpu1 0 0 0 0\ncpu2 0 0 0 0\ncpu3 0 0 0 0\n',
  '/proc/self/status': 'Name:\tnode\nCpus_allowed_list:\t0-3\n',
}
const MIB = 2 ** 20
const GIB = 2 ** 30

const V1 = {
  ...HOST,
  '/proc/self/cgroup': '4:memory:/\n2:cpuacct:/\n1:cpu:/\n0::/\n',
  '/proc/self/mountinfo':
    '32 31 0:29 / /c/cpu ro - cgroup cgroup rw,cpu\n33 31 0:30 / /c/cpuacct ro - cgroup cgroup rw,cpuacct\n35 31 0:32 / /c/memory ro - cgroup cgroup rw,memory\n41 31 0:38 / /c/unified ro - cgroup2 cgroup2 rw\n',
  '/c/cpu/cpu.cfs_quota_us': '150000\n',
  '/c/cpu/cpu.cfs_period_us': '100000\n',
  '/c/cpuacct/cpuacct.usage': '424021464604\n',
  '/c/memory/memory.limit_in_bytes': `${512 * MIB}\n`,
  '/c/memory/memory.usage_in_bytes': `${300 * MIB}\n`,
  '/c/memory/memory.stat': `inactive_file 1\ntotal_inactive_file ${200 * MIB}\n`,
  '/c/memory/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n',
}
const V2 = {
  ...HOST,
  '/proc/self/cgroup': '0::/\n',
  '/proc/self/mountinfo': '29 23 0:26 / /c ro - cgroup2 cgroup rw\n',
  '/c/cpu.max': '50000 100000\n',
  '/c/cpu.stat': 'usage_usec 9000000\nuser_usec 1\n',
  '/c/memory.max': `${512 * MIB}\n`,
  '/c/memory.current': `${300 * MIB}\n`,
  '/c/memory.stat': `anon 1\ninactive_file ${250 * MIB}\n`,
  '/c/memory.events': 'low 0\noom 1\noom_kill 1\n',
}

describe('M1: what is told is what the sandbox may use and uses, not the machine', () => {
  test('with cgroups of version 1, beside an empty one of version 2', () => {
    const readings = createReadings(systemOf(V1))
    expect(readings.cpu()).toEqual({ atMs: 5000, usedMs: 424_021.464604, cpus: 1.5 })
    expect(readings.memory()).toEqual({ totalBytes: 512 * MIB, usedBytes: 100 * MIB })
    expect(readings.oomKills()).toBe(2)
  })

  test('with cgroups of version 2', () => {
    const readings = createReadings(systemOf(V2))
    expect(readings.cpu()).toEqual({ atMs: 5000, usedMs: 9000, cpus: 0.5 })
    expect(readings.memory()).toEqual({ totalBytes: 512 * MIB, usedBytes: 50 * MIB })
    expect(readings.oomKills()).toBe(1)
  })

  test('with a limit of a cgroup above', () => {
    const readings = createReadings(
      systemOf({
        ...V2,
        '/proc/self/cgroup': '0::/a/b\n',
        '/c/a/memory.max': `${64 * MIB}\n`,
        '/c/a/b/memory.max': 'max\n',
        '/c/a/b/memory.current': `${9 * MIB}\n`,
        '/c/a/cpu.max': '20000 100000',
        '/c/a/b/cpu.max': 'max 100000',
        '/c/a/b/cpu.stat': 'usage_usec 1000\n',
      }),
    )
    expect(readings.memory()).toEqual({ totalBytes: 64 * MIB, usedBytes: 9 * MIB })
    expect(readings.cpu()).toEqual({ atMs: 5000, usedMs: 1, cpus: 0.2 })
  })
})

describe('the machine is told', () => {
  test('where a cgroup sets no limit', () => {
    const readings = createReadings(
      systemOf({
        ...V1,
        '/c/memory/memory.limit_in_bytes': '9223372036854771712\n',
        '/c/cpu/cpu.cfs_quota_us': '-1\n',
      }),
    )
    expect(readings.memory()).toEqual({ totalBytes: 8 * GIB, usedBytes: 100 * MIB })
    expect(readings.cpu().cpus).toBe(4)
  })

  test('where there are no cgroups, or only their root, which says nothing of itself', () => {
    for (const files of [HOST, { ...HOST, '/proc/self/cgroup': '0::/\n' }]) {
      const readings = createReadings(systemOf(files))
      expect(readings.memory()).toEqual({ totalBytes: 8 * GIB, usedBytes: 2 * GIB })
      expect(readings.cpu()).toEqual({ atMs: 5000, usedMs: 2000, cpus: 4 })
      expect(readings.oomKills()).toBeUndefined()
    }
  })

  test('where nothing can be read at all', () => {
    const readings = createReadings(systemOf({}))
    expect(readings.memory()).toEqual({ totalBytes: 0, usedBytes: 0 })
    expect(readings.cpu()).toEqual({ atMs: 5000, usedMs: 0, cpus: 1 })
    expect(readings.network()).toBeUndefined()
    expect(readings.sockets()).toEqual({ tcp: 0, udp: 0 })
  })
})

test('never is more used than there is', () => {
  const readings = createReadings(systemOf({ ...V2, '/c/memory.current': `${900 * MIB}\n` }))
  expect(readings.memory()).toEqual({ totalBytes: 512 * MIB, usedBytes: 512 * MIB })
})

test('processes are the numbers in /proc', () => {
  expect(createReadings(systemOf({})).processes()).toBe(3)
})

test('readDisk() tells the disk of a directory, and nothing of one that is gone', async () => {
  const disk = await readDisk('/')
  expect(disk?.totalBytes).toBeGreaterThan(0)
  expect(disk?.usedBytes).toBeLessThanOrEqual(disk?.totalBytes ?? 0)
  expect(await readDisk('/nowhere/at/all')).toBeUndefined()
})
