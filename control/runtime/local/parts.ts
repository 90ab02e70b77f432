// What the local runtime is made of, and where what belongs to one sandbox lies.

import type { ProgramStarter } from '../../../lib/program-starter.ts'
import type { ImageStore } from '../../image/store.ts'
import type { AddressPool } from '../addresses.ts'
import type { GuestDir } from '../guest-dir.ts'
import type { Network6 } from '../network.ts'
import type { RuntimeOptions } from '../open-runtime.ts'
import { pathsOf, type SandboxPaths } from '../sandbox-record.ts'
import type { OciSeccomp } from '../seccomp.ts'
import { type CgroupLayout, cgroupPathOf } from './cgroup.ts'
import type { OciRuntime } from './oci-runtime.ts'

export type Parts = RuntimeOptions & {
  guest: GuestDir
  images: ImageStore
  addresses: AddressPool
  gateway: string
  /** Where sandboxes have IPv6. */
  ipv6?: Network6
  /** Runs the programs that make and remove sandboxes. */
  programs: ProgramStarter
  oci: OciRuntime
  cgroups: CgroupLayout
  seccomp: { usual: OciSeccomp; withNamespaces: OciSeccomp }
}

export function sandboxPaths({ dataDir, instance }: Parts, id: string): SandboxPaths {
  return pathsOf(id, { dataDir, runDir: instance.runDir })
}

export function sandboxCgroup({ instance }: Parts, id: string): string {
  return cgroupPathOf(instance.key, id)
}
