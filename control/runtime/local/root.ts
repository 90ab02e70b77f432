// A sandbox's root: the image below, what the sandbox writes above, joined by overlayfs. The joined root is mounted under
// the run directory, because the sandbox's root user, who is nobody on the host, must be able to walk there, and the data
// directory is closed to everyone.

import { existsSync, lstatSync, type Stats } from 'node:fs'
import { chmod, lchown, mkdir, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { outputOf, type RunProgram } from '../../../lib/run-program.ts'
import { ID_MAP } from '../../image/image.ts'
import { unmountAll } from '../staged-mounts.ts'

const TIMEOUT_MS = 20_000
/** Who the root of sandboxes is outside of them. */
export const ROOT_OWNER = { uid: ID_MAP.hostId, gid: ID_MAP.hostId }

export type RootOptions = {
  /** What lies below, from the top: layers of snapshots, then the image's root. */
  lowers: string[]
  /** Where `upper` and `work` are made: a directory of the sandbox's own, or its disk. */
  folder: string
  mountPoint: string
  /** Files that are written into /etc of the sandbox, by name. */
  etc: Record<string, string>
  run: RunProgram
}

/** Makes and mounts the root. */
export async function mountRoot(
  { lowers, folder, mountPoint, etc, run }: RootOptions,
  signal: AbortSignal,
): Promise<void> {
  const upper = join(folder, 'upper')
  const work = join(folder, 'work')
  await mkdir(work, { mode: 0o755 })
  await makeOwned(upper, 0o755)
  const below = topmost(lowers, 'etc')
  // An image whose /etc is no directory of its own keeps what it has; where it was removed, that is a device (overlayfs, whiteouts).
  if (below === undefined || below.isDirectory() || below.isCharacterDevice()) {
    await makeOwned(join(upper, 'etc'), below?.isDirectory() ? below.mode & 0o7777 : 0o755)
    for (const [name, text] of Object.entries(etc)) {
      const path = join(upper, 'etc', name)
      await writeFile(path, text, { mode: 0o644 })
      await lchown(path, ID_MAP.hostId, ID_MAP.hostId)
    }
  }
  await mkdir(mountPoint, { mode: 0o755 })
  const layers = `lowerdir=${lowers.join(':')},upperdir=${upper},workdir=${work}`
  await outputOf('mount', ['-t', 'overlay', 'overlay', '-o', layers, mountPoint], {
    signal,
    timeoutMs: TIMEOUT_MS,
    by: run,
  })
}

/** Unmounts the root, at once for everyone even when something still holds it; fine when it is not mounted. */
export async function unmountRoot(mountPoint: string, run: RunProgram, signal: AbortSignal): Promise<void> {
  await unmountAll(mountPoint, run, signal)
  if (existsSync(mountPoint)) await rmdir(mountPoint)
}

/** What a name is, as the layers show it. */
function topmost(lowers: readonly string[], name: string): Stats | undefined {
  for (const lower of lowers) {
    const found = lstatSync(join(lower, name), { throwIfNoEntry: false })
    if (found) return found
  }
  return undefined
}

/** A directory that belongs to the sandbox's root. */
async function makeOwned(path: string, mode: number): Promise<void> {
  await mkdir(path)
  await chmod(path, mode)
  await lchown(path, ID_MAP.hostId, ID_MAP.hostId)
}
