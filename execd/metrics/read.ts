// Reading what the sandbox may use and uses: from its cgroups, and where they say nothing from the whole machine. A reading is
// a few small files, so it needs no cache and no clock of its own: whoever wants numbers reads, and an idle execd sleeps.

import { readdirSync, readFileSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import {
  type Cgroups,
  findCgroups,
  parseCfsQuota,
  parseCount,
  parseCpuMax,
  parseMemoryLimit,
  parseStat,
} from './cgroup.ts'
import { countCpus, countSockets, parseMeminfo, parseNetDev, parseProcStat } from './proc.ts'

const DISK_DEADLINE_MS = 1000

/** The questions to the system; a test answers them itself. */
export type System = {
  /** The text of a file, or undefined when it cannot be read. */
  read(path: string): string | undefined
  /** The names in a directory. */
  list(path: string): string[]
  /** Milliseconds of a clock that nobody sets. */
  now(): number
}

export type CpuReading = {
  atMs: number
  /** CPU time so far. */
  usedMs: number
  /** How many CPUs' worth may be used. */
  cpus: number
}

export type MemoryReading = { totalBytes: number; usedBytes: number }

const realSystem: System = {
  read: (path) => {
    try {
      return readFileSync(path, 'utf8')
    } catch {
      return undefined // not on this system
    }
  },
  list: (path) => {
    try {
      return readdirSync(path)
    } catch {
      return []
    }
  },
  now: () => performance.now(),
}

export type Readings = {
  cpu(): CpuReading
  memory(): MemoryReading
  oomKills(): number | undefined
  processes(): number
  network(): { received: number; sent: number } | undefined
  sockets(): { tcp: number; udp: number }
}

/** Where to read, found once: a process does not change its cgroup. */
export function createReadings(system: System = realSystem): Readings {
  const { read } = system
  const cgroups = findCgroups(read('/proc/self/cgroup') ?? '', read('/proc/self/mountinfo') ?? '')
  return {
    cpu: () => readCpu(system, cgroups),
    memory: () => readMemory(system, cgroups),
    oomKills: () => {
      const memory = cgroups.v1.memory?.[0]
      const text = memory
        ? read(`${memory}/memory.oom_control`)
        : cgroups.v2[0] && read(`${cgroups.v2[0]}/memory.events`)
      return text === undefined ? undefined : parseStat(text, 'oom_kill')
    },
    processes: () => system.list('/proc').filter((name) => /^\d+$/.test(name)).length,
    network: () => {
      const text = read('/proc/net/dev')
      return text === undefined ? undefined : parseNetDev(text)
    },
    sockets: () => {
      const count = (protocol: string, state?: string) =>
        ['', '6'].reduce(
          (sum, family) => sum + countSockets(read(`/proc/net/${protocol}${family}`) ?? '', state),
          0,
        )
      return { tcp: count('tcp', '01'), udp: count('udp') }
    },
  }
}

function readCpu({ read, now }: System, { v1, v2 }: Cgroups): CpuReading {
  const quotas = v1.cpu
    ? v1.cpu.map((dir) =>
        parseCfsQuota(read(`${dir}/cpu.cfs_quota_us`) ?? '', read(`${dir}/cpu.cfs_period_us`) ?? ''),
      )
    : v2.map((dir) => parseCpuMax(read(`${dir}/cpu.max`) ?? 'max'))
  const allowed = /^Cpus_allowed_list:\s*(\S+)$/m.exec(read('/proc/self/status') ?? '')?.[1]
  const cpus = least([allowed ? countCpus(allowed) : undefined, ...quotas]) ?? 1
  const atMs = now()
  const nanoseconds = v1.cpuacct?.[0] && parseCount(read(`${v1.cpuacct[0]}/cpuacct.usage`) ?? '')
  if (nanoseconds) return { atMs, usedMs: nanoseconds / 1e6, cpus }
  const microseconds = v2[0] && parseStat(read(`${v2[0]}/cpu.stat`) ?? '', 'usage_usec')
  if (microseconds) return { atMs, usedMs: microseconds / 1e3, cpus }
  const machine = parseProcStat(read('/proc/stat') ?? '')
  return { atMs, usedMs: machine?.usedMs ?? 0, cpus: machine?.cpus ?? cpus }
}

function readMemory({ read }: System, { v1, v2 }: Cgroups): MemoryReading {
  const meminfo = read('/proc/meminfo') ?? ''
  const machine = parseMeminfo(meminfo, 'MemTotal') ?? 0
  const dirs = v1.memory ?? v2
  const [limitFile, usageFile, cacheName] = v1.memory
    ? ['memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file']
    : ['memory.max', 'memory.current', 'inactive_file']
  const limits = dirs.map((dir) => parseMemoryLimit(read(`${dir}/${limitFile}`) ?? ''))
  const totalBytes = least([machine || undefined, ...limits]) ?? 0
  const usage = dirs[0] && parseCount(read(`${dirs[0]}/${usageFile}`) ?? '')
  const cache = dirs[0] && parseStat(read(`${dirs[0]}/memory.stat`) ?? '', cacheName)
  // The root of a hierarchy says nothing of its own use in version 2: then it is the machine's.
  const usedBytes = usage
    ? usage - (cache || 0)
    : machine - (parseMeminfo(meminfo, 'MemAvailable') ?? machine)
  return { totalBytes, usedBytes: Math.max(0, Math.min(usedBytes, totalBytes)) }
}

export type DiskReading = { totalBytes: number; usedBytes: number; freeBytes: number }

/** The file system that `path` is on; undefined when it does not answer, as one behind a lost network may not. */
export async function readDisk(path: string): Promise<DiskReading | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), DISK_DEADLINE_MS)
  })
  try {
    const found = await Promise.race([statfs(path), late])
    if (!found) return undefined
    const { bsize, blocks, bfree, bavail } = found
    return { totalBytes: blocks * bsize, usedBytes: (blocks - bfree) * bsize, freeBytes: bavail * bsize }
  } catch {
    return undefined // there is no such directory any more
  } finally {
    clearTimeout(timer)
  }
}

function least(values: (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined)
  return known.length > 0 ? Math.min(...known) : undefined
}
