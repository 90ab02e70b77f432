// What the Docker runtime needs from the daemon and from the machine, told before the first sandbox instead of by its failure.

import { hasProgram, type Machine } from '../machine.ts'

/** The part of what the daemon says of itself that matters here. */
export type DaemonInfo = {
  OSType?: string
  KernelVersion?: string
  SecurityOptions?: string[]
  Runtimes?: Record<string, { path?: string; runtimeType?: string }>
  DockerRootDir?: string
  Driver?: string
  DriverStatus?: [string, string][]
  NCPU?: number
  MemTotal?: number
  DiscoveredDevices?: { ID?: string }[]
}

/** One sentence for each thing that is missing; empty when sandboxes can run. */
export function findMissing(machine: Machine, info: DaemonInfo, ociRuntime: string | undefined): string[] {
  const missing: string[] = []
  if (machine.uid !== 0)
    missing.push(
      'Root is needed to connect containers to the network and to keep them to their policy: start this as root.',
    )
  for (const [program, name] of [
    ['ip', 'iproute2'],
    ['nsenter', 'util-linux'],
  ] as const)
    if (!hasProgram(machine, program))
      missing.push(`The program "${program}" is missing: install the package ${name}.`)
  if (info.OSType !== 'linux')
    missing.push(`The Docker daemon runs ${info.OSType} containers, but sandboxes are linux containers.`)
  if (isRootless(info))
    missing.push(
      'The Docker daemon is rootless: its containers have no network that this machine could keep to a policy. Use one that runs as root.',
    )
  const runtimes = Object.keys(info.Runtimes ?? {})
  if (ociRuntime !== undefined && !runtimes.includes(ociRuntime))
    missing.push(
      `The Docker daemon knows no runtime "${ociRuntime}": it has ${runtimes.join(', ')}. Register it in its daemon.json, or change [secure_runtime].`,
    )
  const program = ociRuntime === undefined ? undefined : info.Runtimes?.[ociRuntime]
  if (KEEPS_OWN_NETWORK.test(`${program?.path ?? ''} ${program?.runtimeType ?? ''}`))
    missing.push(
      `The runtime "${ociRuntime}" takes the interfaces that there are when a container starts, and a sandbox is given its own after that: its sandboxes could not be reached. Use one that has the kernel's network namespace, such as runc or crun.`,
    )
  return missing
}

/** gVisor has a network stack of its own, Kata Containers a virtual machine (docs/decisions/docker-network.md). */
const KEEPS_OWN_NETWORK = /runsc|kata/

function isRootless({ SecurityOptions = [] }: DaemonInfo): boolean {
  return SecurityOptions.some((option) => option.startsWith('name=rootless'))
}

/** Whom the daemon makes of the root of a container: root, unless it maps users. */
export function rootOwnerOf({ SecurityOptions = [], DockerRootDir = '' }: DaemonInfo): {
  uid: number
  gid: number
} {
  const isMapped = SecurityOptions.some((option) => option.startsWith('name=userns'))
  // With a mapping, the daemon keeps its data in a directory that is named after it.
  const ids = isMapped ? /\/(\d+)\.(\d+)$/.exec(DockerRootDir) : null
  return { uid: Number(ids?.[1] ?? 0), gid: Number(ids?.[2] ?? 0) }
}
