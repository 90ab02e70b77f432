// What the Docker runtime is made of, and where what belongs to one sandbox lies.

import type { ProgramStarter } from '../../../lib/program-starter.ts'
import type { AddressPool } from '../addresses.ts'
import type { GuestDir } from '../guest-dir.ts'
import type { Network6 } from '../network.ts'
import type { RuntimeOptions } from '../open-runtime.ts'
import type { Abilities } from '../runtime.ts'
import { pathsOf, readRecord, type SandboxPaths, type SandboxRecord } from '../sandbox-record.ts'
import type { Engine } from './engine.ts'
import type { DockerImages } from './images.ts'
import type { Ownership } from './ownership.ts'
import type { Ground } from './snapshots.ts'

export type DockerParts = RuntimeOptions & {
  engine: Engine
  ownership: Ownership
  guest: GuestDir
  images: DockerImages
  addresses: AddressPool
  gateway: string
  /** Where sandboxes have IPv6. */
  ipv6?: Network6
  /** Runs the programs that make and remove networks. */
  programs: ProgramStarter
  /** What the daemon can limit and give. */
  abilities: Abilities
  /** Who the root of containers is on this machine: another one where the daemon maps users. */
  rootOwner: { uid: number; gid: number }
  /** The text of a seccomp filter for sandboxes whose processes may make namespaces; a sentence where they may not here. */
  namespaces: { seccomp: string } | { refusal: string }
}

export type DockerRecord = SandboxRecord & {
  /** Docker's id of the container, once it runs. */
  container?: string
  /** What the daemon calls the volumes that its image declares. */
  imageVolumes?: string[]
  /** How it is run, for snapshots of it. */
  ground?: Ground
}

export function sandboxPaths({ dataDir, instance }: DockerParts, id: string): SandboxPaths {
  return pathsOf(id, { dataDir, runDir: instance.runDir })
}

export function recordOf(parts: DockerParts, id: string): DockerRecord | undefined {
  return readRecord(sandboxPaths(parts, id).record)
}
