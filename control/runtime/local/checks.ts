// What the local runtime needs from the machine, told before the first sandbox instead of by its failure.

import { existsSync, readFileSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { SYSTEM_PATH } from '../../../lib/run-program.ts'

export const SECCOMP_PROFILE = '/usr/share/containers/seccomp.json'

export type Machine = {
  uid: number
  /** Whether a file or program is there. */
  has(path: string): boolean
  filesystems: string
}

/** The machine that this process runs on. */
export function thisMachine(): Machine {
  return {
    uid: process.getuid?.() ?? -1,
    has: existsSync,
    filesystems: readFileSync('/proc/filesystems', 'utf8'),
  }
}

/** One sentence for each thing that is missing; empty when sandboxes can run. */
export function findMissing(machine: Machine, ociRuntime: string): string[] {
  const missing: string[] = []
  if (machine.uid !== 0)
    missing.push('Root is needed to make namespaces, mounts and cgroups: start this as root.')
  const inPath = (name: string) =>
    (isAbsolute(name) ? [name] : SYSTEM_PATH.split(':').map((folder) => join(folder, name))).some(machine.has)
  if (!inPath(ociRuntime))
    missing.push(
      `The OCI runtime "${ociRuntime}" is not in ${SYSTEM_PATH}: install it, or set runtime.oci_runtime.`,
    )
  for (const [program, name] of [
    ['ip', 'iproute2'],
    ['nsenter', 'util-linux'],
    ['mount', 'mount'],
  ] as const)
    if (!inPath(program)) missing.push(`The program "${program}" is missing: install the package ${name}.`)
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
