// What an image declares as VOLUME: directories that the daemon keeps apart from the container's own files. Left to itself it would give
// them names that say nothing, and leave them when a container is removed by hand; so they get names by which they go with their
// sandbox. No limit of a disk counts them: a sandbox with one is not made of such an image, unless it mounts something else there.

import { posix } from 'node:path'
import { RuntimeError } from '../runtime.ts'
import { type Engine, isMissing } from './engine.ts'

/** No image that is meant well declares as many. */
const MAX_VOLUMES = 64

export type ImageVolume = { name: string; target: string }

export type Declared = {
  /** As the image has them. */
  declared: readonly string[]
  /** What is mounted anyway: that counts, and nothing is kept apart there. */
  targets: readonly string[]
  /** What the names begin with. */
  prefix: string
  isLimited: boolean
}

/** The volumes of a sandbox for what its image declares. Throws RuntimeError when its disk could not be limited. Pure. */
export function planImageVolumes({ declared, targets, prefix, isLimited }: Declared): ImageVolume[] {
  const taken = new Set(targets.map(clean))
  // The root, and what is no path of the container, is the daemon's to refuse.
  const free = [...new Set(declared.map(clean))]
    .filter((path) => /^\/./.test(path) && !taken.has(path))
    .sort()
  if (free.length > MAX_VOLUMES)
    throw new RuntimeError(
      'unsupported',
      `The image declares ${free.length} volumes (VOLUME), and ${MAX_VOLUMES} are allowed`,
    )
  if (isLimited && free.length > 0)
    throw new RuntimeError(
      'unsupported',
      `The disk cannot be limited: the image keeps "${free[0]?.slice(0, 200)}" in a volume of its own (VOLUME), which Docker counts for no limit. Mount a volume there, or leave out resourceLimits.disk where there is no runtime.default_disk`,
    )
  return free.map((target, at) => ({ name: `${prefix}.${at}`, target }))
}

/** Removes volumes that nothing mounts any more; fine where there are none. */
export async function removeImageVolumes(
  { docker, call }: Engine,
  names: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (const name of names)
    try {
      await call((abortSignal) => docker.getVolume(name).remove({ abortSignal }), { signal })
    } catch (error) {
      if (!isMissing(error)) throw error
    }
}

function clean(path: string): string {
  const normal = posix.normalize(path)
  return normal.length > 1 ? normal.replace(/\/$/, '') : normal
}
