// What the local runtime needs from the machine, told before the first sandbox instead of by its failure.

import { SYSTEM_PATH } from '../../../lib/run-program.ts'
import { hasProgram, type Machine, SECCOMP_PROFILE } from '../machine.ts'

/** What ends the name of a layer where the kernel is told of several. */
const NO_PART_OF_LAYERS = [',', ':', '\\']

/** Why sandboxes cannot lie below this directory, in one sentence; undefined when they can. */
export function whyNoPlace(dataDir: string): string | undefined {
  const found = NO_PART_OF_LAYERS.find((character) => dataDir.includes(character))
  return found === undefined
    ? undefined
    : `Cannot keep sandboxes in the data directory "${dataDir}": its path has "${found}", and an overlay can be made of paths without ${NO_PART_OF_LAYERS.map((each) => `"${each}"`).join(', ')} alone. Set server.data_dir to another one.`
}

/** One sentence for each thing that is missing; empty when sandboxes can run. */
export function findMissing(machine: Machine, ociRuntime: string): string[] {
  const missing: string[] = []
  if (machine.uid !== 0)
    missing.push('Root is needed to make namespaces, mounts and cgroups: start this as root.')
  if (!hasProgram(machine, ociRuntime))
    missing.push(
      `The OCI runtime "${ociRuntime}" is not in ${SYSTEM_PATH}: install it, or set runtime.oci_runtime.`,
    )
  for (const [program, name] of [
    ['ip', 'iproute2'],
    ['nsenter', 'util-linux'],
    ['mount', 'mount'],
  ] as const)
    if (!hasProgram(machine, program))
      missing.push(`The program "${program}" is missing: install the package ${name}.`)
  if (!machine.has(SECCOMP_PROFILE))
    missing.push(
      `The seccomp profile "${SECCOMP_PROFILE}" is missing: install the package golang-github-containers-common.`,
    )
  if (!/\boverlay\b/.test(machine.filesystems) && !machine.has('/sys/module/overlay'))
    missing.push('The kernel has no overlay file system: load it with "modprobe overlay".')
  for (const kind of ['user', 'net', 'pid', 'mnt', 'cgroup'])
    if (!machine.has(`/proc/self/ns/${kind}`)) missing.push(`The kernel has no ${kind} namespaces.`)
  if (!machine.has('/sys/fs/cgroup/cgroup.controllers') && !machine.has('/sys/fs/cgroup/memory'))
    missing.push('No cgroups are mounted at /sys/fs/cgroup: limits cannot be set.')
  return missing
}
