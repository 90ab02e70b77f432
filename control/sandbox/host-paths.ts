// What the host paths of a request really are. A path that passed as text is judged once more after its symbolic links; what
// changes between this look and the mount, the runtime notices, which follows no link any more (control/runtime/held-path.ts).

import { join, normalize } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'
import { refusal } from '../errors.ts'
import { LeadsAway } from '../runtime/held-path.ts'
import type { Mount } from '../store/schema.ts'

/** What is asked of the file system; a test answers with literals. */
export type HostFiles = {
  realPath: (path: string) => Promise<string>
  /** Makes a directory, with those above it, where nothing is. The path holds no link, and none is followed. */
  makeDirectory: (path: string) => Promise<void>
}

/** The mounts with their real paths. Throws 400 for one that leads out of the operator's list. */
export async function openMounts(
  mounts: Mount[],
  allowedPaths: string[],
  files: Pick<HostFiles, 'realPath'>,
): Promise<Mount[]> {
  const realAllowed = await Promise.all(allowedPaths.map((path) => realPathOf(path, files)))
  const allowed = realAllowed.filter((path) => path !== undefined)
  const opened: Mount[] = []
  for (const mount of mounts) {
    // Of what is not there yet, the nearest directory that is must lie inside.
    const missing: string[] = []
    let existing = mount.source
    let real = await realPathOf(existing, files)
    while (real === undefined && existing !== '/') {
      missing.unshift(existing.slice(existing.lastIndexOf('/') + 1))
      existing = join(existing, '..')
      real = await realPathOf(existing, files)
    }
    real ??= '/'
    if (!isAllowed(real, allowed)) throw leadsOut(mount)
    opened.push({ ...mount, source: join(real, ...missing) })
  }
  return opened
}

/** Makes the sources that are missing: last of all, so that a create that is refused leaves no directory behind. */
export async function makeSources(mounts: Mount[], { makeDirectory }: HostFiles): Promise<void> {
  for (const mount of mounts) {
    try {
      await makeDirectory(mount.source)
    } catch (error) {
      if (error instanceof LeadsAway) throw leadsOut(mount, error)
      throw refusal(
        'VOLUME::HOST_PATH_CREATE_FAILED',
        `The host path of the volume at "${mount.target}" could not be made`,
        { cause: error },
      )
    }
  }
}

function leadsOut({ target }: Mount, cause?: Error): Error {
  return refusal(
    'VOLUME::HOST_PATH_NOT_ALLOWED',
    `The host path of the volume at "${target}" leads out of storage.allowed_host_paths by a symbolic link`,
    { cause },
  )
}

/** Whether a path is one of the operator's list, or lies below one. */
export function isAllowed(path: string, allowedPaths: string[]): boolean {
  return allowedPaths.some((allowed) => isInside(path, normalize(allowed).replace(/(.)\/+$/, '$1')))
}

export function isInside(path: string, parent: string): boolean {
  return parent === '/' || path === parent || path.startsWith(`${parent}/`)
}

async function realPathOf(path: string, files: Pick<HostFiles, 'realPath'>): Promise<string | undefined> {
  try {
    return await files.realPath(path)
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw refusal('VOLUME::INVALID_HOST_PATH', 'a host path cannot be read', { cause: error })
  }
}
