// Where a sandbox's cgroup lies and what it tells: on hosts with v1, hybrid and v2 layouts.

import { existsSync, readFileSync } from 'node:fs'
import { rmdir } from 'node:fs/promises'
import { join } from 'node:path'

const MOUNT = '/sys/fs/cgroup'

export type CgroupLayout = { version: 1 | 2; countsSwap: boolean }

/** How this host mounts its cgroups. Hybrid hosts, whose v2 tree has no controllers, count as v1. */
export function readCgroupLayout(mount = MOUNT): CgroupLayout {
  if (existsSync(join(mount, 'cgroup.controllers'))) return { version: 2, countsSwap: true }
  return { version: 1, countsSwap: existsSync(join(mount, 'memory/memory.memsw.limit_in_bytes')) }
}

/** The path below each hierarchy under which the cgroups of an installation's sandboxes lie. */
export function cgroupParentOf(instanceKey: string): string {
  return `/opensandbox-${instanceKey}`
}

/** The path of a sandbox's cgroup below each hierarchy. */
export function cgroupPathOf(instanceKey: string, id: string): string {
  return `${cgroupParentOf(instanceKey)}/${id}`
}

/** The file by which a sandbox is frozen and thawed, and what is written to it. */
export function freezerOf(
  path: string,
  { version }: CgroupLayout,
): { path: string; freeze: string; thaw: string } {
  return version === 2
    ? { path: join(MOUNT, path, 'cgroup.freeze'), freeze: '1', thaw: '0' }
    : { path: join(MOUNT, 'freezer', path, 'freezer.state'), freeze: 'FROZEN', thaw: 'THAWED' }
}

/** Whether the freezer holds the sandbox; with `isDone`, whether nothing in it runs any more. */
export function isFrozen(path: string, layout: CgroupLayout, { isDone = false } = {}): boolean {
  if (isDone && layout.version === 2)
    return /^frozen 1$/m.test(readIfThere(join(MOUNT, path, 'cgroup.events')) ?? '')
  const state = readIfThere(freezerOf(path, layout).path)?.trim()
  return state === '1' || state === 'FROZEN' || (state === 'FREEZING' && !isDone)
}

/** The file that says how many bytes of memory a sandbox uses, and the one by which the kernel is asked to take back what it can. */
export function memoryFilesOf(path: string, { version }: CgroupLayout): { usage: string; reclaim: string } {
  const folder = join(MOUNT, version === 2 ? '' : 'memory', path)
  return version === 2
    ? { usage: join(folder, 'memory.current'), reclaim: join(folder, 'memory.reclaim') }
    : { usage: join(folder, 'memory.usage_in_bytes'), reclaim: join(folder, 'memory.force_empty') }
}

/** The processes of a sandbox, as the host numbers them. */
export function processesIn(path: string, { version }: CgroupLayout): number[] {
  const file = join(MOUNT, version === 2 ? '' : 'freezer', path, 'cgroup.procs')
  return (readIfThere(file) ?? '').split('\n').filter(Boolean).map(Number)
}

/** How many processes of the sandbox the kernel has ended for memory. */
export function readOomKills(path: string, { version }: CgroupLayout): number {
  const file =
    version === 2 ? join(MOUNT, path, 'memory.events') : join(MOUNT, 'memory', path, 'memory.oom_control')
  return Number(/^oom_kill (\d+)$/m.exec(readIfThere(file) ?? '')?.[1] ?? 0)
}

/** Removes what the OCI runtime has left of a cgroup, in every hierarchy; fine when there is nothing. */
export async function removeCgroup(path: string, { version }: CgroupLayout): Promise<void> {
  const hierarchies = version === 2 ? [''] : V1_HIERARCHIES
  for (const name of hierarchies)
    await rmdir(join(MOUNT, name, path)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error
    })
}

const V1_HIERARCHIES = [
  'blkio',
  'cpu',
  'cpuacct',
  'cpu,cpuacct',
  'cpuset',
  'devices',
  'freezer',
  'hugetlb',
  'memory',
  'misc',
  'net_cls',
  'net_prio',
  'net_cls,net_prio',
  'perf_event',
  'pids',
  'rdma',
  'systemd',
  'unified',
] // prettier-ignore

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined // the sandbox is gone, or the host has no such controller
  }
}
