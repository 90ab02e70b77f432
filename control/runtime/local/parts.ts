// What the local runtime is made of, and where what belongs to one sandbox lies.

import type { Config } from '../../../lib/config.ts'
import type { Instance } from '../../../lib/instance.ts'
import type { Logger } from '../../../lib/log.ts'
import type { ProgramThread } from '../../../lib/program-thread.ts'
import type { EgressClient } from '../../egress-client.ts'
import type { ImageStore } from '../../image/store.ts'
import type { GuestDir } from '../guest-dir.ts'
import type { AddressPool } from './addresses.ts'
import { type CgroupLayout, cgroupPathOf } from './cgroup.ts'
import type { OciRuntime } from './oci-runtime.ts'
import { pathsOf, type SandboxPaths } from './sandbox-record.ts'
import type { OciSeccomp } from './seccomp.ts'

export type LocalRuntimeOptions = {
  config: Config
  instance: Instance
  dataDir: string
  egress: EgressClient
  /** The variables that name proxies, for pulling images. */
  proxyEnvironment: Record<string, string>
  log: Logger
  signal: AbortSignal
}

export type Parts = LocalRuntimeOptions & {
  guest: GuestDir
  images: ImageStore
  addresses: AddressPool
  gateway: string
  /** Runs the programs that make and remove sandboxes. */
  programs: ProgramThread
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
