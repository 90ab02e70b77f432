// What of a sandbox a daemon can limit and give, decided from what it says of itself. Where something cannot be held, the answer is
// a sentence for who asked for it: a limit that is silently dropped is none.

import { readFileSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { mountPointsIn } from '../../../lib/mountinfo.ts'
import type { Abilities } from '../runtime.ts'
import type { DaemonInfo } from './checks.ts'

/** Storage drivers that limit each container by themselves. */
const LIMITING_DRIVERS = ['btrfs', 'zfs']
const MAX_DISK_BYTES = 2 ** 53 - 1

export function abilitiesOf(info: DaemonInfo): Abilities {
  return {
    cpus: info.NCPU ?? availableParallelism(),
    memoryBytes: info.MemTotal ?? totalmem(),
    disk: decideDisk(info, readFileSync('/proc/self/mountinfo', 'utf8')),
    gpus: decideGpus(info),
  }
}

/** Whether containers can be given a size. `mountInfo` is the machine's table of mounts. */
export function decideDisk(
  { Driver, DriverStatus = [], DockerRootDir = '' }: DaemonInfo,
  mountInfo: string,
): number | string {
  if (Driver && LIMITING_DRIVERS.includes(Driver)) return MAX_DISK_BYTES
  if (Driver !== 'overlay2')
    return `the storage driver of this Docker daemon, "${Driver ?? 'unknown'}", limits no container`
  const below = DriverStatus.find(([name]) => name === 'Backing Filesystem')?.[1] ?? 'unknown'
  if (below !== 'xfs')
    return `the storage driver "overlay2" limits containers on xfs only, and the data of this Docker daemon lies on "${below}"`
  if (!/(^|,)(pquota|prjquota)(,|$)/.test(optionsOf(DockerRootDir, mountInfo)))
    return 'the data of this Docker daemon lies on xfs without project quotas: its operator can mount that with the option "pquota"'
  return MAX_DISK_BYTES
}

export function decideGpus({ Runtimes = {}, DiscoveredDevices = [] }: DaemonInfo): 'any' | string {
  if ('nvidia' in Runtimes || DiscoveredDevices.some(({ ID }) => ID?.startsWith('nvidia.com/gpu')))
    return 'any'
  return 'this Docker daemon has no runtime for GPUs; its operator can install the NVIDIA Container Toolkit'
}

/** The options of the file system on which a path lies. */
function optionsOf(path: string, mountInfo: string): string {
  let best = { length: -1, options: '' }
  for (const line of mountInfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const [point = ''] = mountPointsIn(before)
    const isAbove = point === '/' || path === point || path.startsWith(`${point}/`)
    // Of two at one place, the later one is seen.
    if (point !== '' && isAbove && point.length >= best.length)
      best = { length: point.length, options: after.split(' ').slice(2).join(' ') }
  }
  return best.options
}
