// What a container mounts. Whole volumes are the daemon's to mount, so that it knows that they are in use. What lies at a path,
// a host directory or a part of a volume, is bound to a place of ours first; and as a daemon may see another table of mounts than this
// program does, it is looked at once more from within, before anything of the user's runs.

import { readFileSync } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { mountPointsIn } from '../../../lib/mountinfo.ts'
import { RuntimeError, type RuntimeSpec } from '../runtime.ts'
import { type StagedMount, stageMounts } from '../staged-mounts.ts'
import type { ContainerInput } from './container-spec.ts'
import { type DockerParts, sandboxPaths } from './parts.ts'
import { volumeNameOf, volumePathOf } from './volumes.ts'

/** The mounts for the container's specification, and those of them that have to be looked at. */
export async function openMounts(
  parts: DockerParts,
  { id, mounts, volumes = [] }: Pick<RuntimeSpec, 'id' | 'mounts' | 'volumes'>,
  signal: AbortSignal,
): Promise<{ mounts: ContainerInput['mounts']; staged: StagedMount[] }> {
  const inParts = volumes.filter(({ subPath }) => subPath !== undefined)
  const paths = new Map<string, string>()
  // Of all: the daemon would make one that is gone anew, and empty.
  for (const { key } of volumes) paths.set(key, await volumePathOf(parts, key, signal))
  const staged = await stageMounts(
    { mounts, volumes: inParts },
    {
      folder: sandboxPaths(parts, id).mounts,
      volumePath: (key) => paths.get(key) ?? '',
      owner: parts.rootOwner,
      run: parts.programs.run,
    },
    signal,
  )
  const whole = volumes
    .filter(({ subPath }) => subPath === undefined)
    .map(({ key, target, readOnly }) => ({
      source: volumeNameOf(parts, key),
      isVolume: true,
      target,
      readOnly,
    }))
  const all = [...staged, ...whole].sort((one, other) => (one.target < other.target ? -1 : 1))
  return { mounts: all, staged }
}

/** Looks from within a container whether everything that was to be mounted is. Rejects when something else is in its place. */
export async function verifyMounts(
  staged: Pick<StagedMount, 'device' | 'inode' | 'target'>[],
  pid: number,
): Promise<void> {
  if (staged.length === 0) return
  const points = mountPointsIn(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'))
  const seen = new Set<string>()
  for (const point of points) {
    // Of what lies on top of a place that others have the same look is enough.
    const found = await lstat(`/proc/${pid}/root${point}`).catch(() => undefined)
    if (found) seen.add(`${found.dev}:${found.ino}`)
  }
  for (const { device, inode, target } of staged)
    if (!seen.has(`${device}:${inode}`))
      throw new RuntimeError(
        'start_failed',
        `The Docker daemon has mounted something else at "${target}" than what was judged: it has to share its table of mounts with this machine`,
      )
}
