// What cgroups say about this sandbox, in both versions of the kernel's interface and in the mix of the two. Finding the
// directories and reading the files' texts are pure; read.ts opens the files. A limit of any directory above binds as well,
// so a controller is a list of directories: its own first, then those above, as far as they can be seen from here.

import { decodeOctal } from '../../lib/mountinfo.ts'

export type Cgroups = {
  /** By controller, of version 1: `memory` -> directories. */
  v1: Record<string, string[]>
  /** The one hierarchy of version 2; on a mixed host it may be there without any controller. */
  v2: string[]
}

/** Version 1 says "no limit" by a number near 2^63. */
const NO_LIMIT = 2 ** 60

/** The directories of this process's cgroups, from `/proc/self/cgroup` and `/proc/self/mountinfo`. */
export function findCgroups(membership: string, mountinfo: string): Cgroups {
  const found: Cgroups = { v1: {}, v2: [] }
  const mounts = parseMounts(mountinfo)
  for (const line of membership.split('\n')) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line)
    if (!match) continue
    const [, names = '', path = '/'] = match
    if (names === '') {
      const mount = mounts.find(({ type }) => type === 'cgroup2')
      if (mount) found.v2 = directoriesOf(mount, path)
      continue
    }
    for (const name of names.split(',')) {
      const mount = mounts.find(({ type, options }) => type === 'cgroup' && options.includes(name))
      if (mount && !name.startsWith('name=')) found.v1[name] = directoriesOf(mount, path)
    }
  }
  return found
}

type Mount = { root: string; point: string; type: string; options: string[] }

function parseMounts(mountinfo: string): Mount[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [before = '', after] = line.split(' - ')
    const [, , , root = '/', point = ''] = before.split(' ')
    const [type = '', , options = ''] = after?.split(' ') ?? []
    if (type !== 'cgroup' && type !== 'cgroup2') return []
    return [{ root: decodeOctal(root), point: decodeOctal(point), type, options: options.split(',') }]
  })
}

function directoriesOf({ root, point }: Mount, path: string): string[] {
  // A mount shows the hierarchy from its own root on. One made in another namespace has a root that means nothing here, and
  // then the mount point is as near as we get.
  const below =
    root === '/' ? path : path === root || path.startsWith(`${root}/`) ? path.slice(root.length) : ''
  const parts = below.split('/').filter((part) => part !== '' && part !== '.')
  if (parts.includes('..')) return [point]
  return Array.from({ length: parts.length + 1 }, (_, up) =>
    [point, ...parts.slice(0, parts.length - up)].join('/'),
  )
}

/** `cpu.max`, as a number of CPUs; undefined without a limit. */
export function parseCpuMax(text: string): number | undefined {
  const [quota, period = '100000'] = text.trim().split(/\s+/)
  return quota === 'max' ? undefined : share(Number(quota), Number(period))
}

/** `cpu.cfs_quota_us` and `cpu.cfs_period_us`, as a number of CPUs; undefined without a limit. */
export function parseCfsQuota(quota: string, period: string): number | undefined {
  return share(Number(quota), Number(period))
}

function share(quota: number, period: number): number | undefined {
  return quota > 0 && period > 0 ? quota / period : undefined
}

/** `memory.max` or `memory.limit_in_bytes`; undefined without a limit. */
export function parseMemoryLimit(text: string): number | undefined {
  const bytes = text.trim() === 'max' ? Number.NaN : Number(text)
  return bytes > 0 && bytes < NO_LIMIT ? bytes : undefined
}

/** A number of a file of `name value` lines, such as `cpu.stat`, `memory.stat` and `memory.events`. */
export function parseStat(text: string, name: string): number | undefined {
  const line = text.split('\n').find((each) => each.startsWith(`${name} `))
  return line === undefined ? undefined : parseCount(line.slice(name.length + 1))
}

/** A file of one number. */
export function parseCount(text: string): number | undefined {
  return /^\s*\d+\s*$/.test(text) ? Number(text) : undefined
}
