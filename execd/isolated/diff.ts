// What a session has changed in its overlays: the upper layer compared with what lies below it. A deleted entry is a character
// device 0/0 in the upper layer. A directory that was removed and made again hides all that lay below it by an attribute that
// cannot be read here; what it hides is found by asking the joined directory.

import type { Stats } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { IsolatedChange } from '../../lib/api/execd-isolated.ts'
import { ApiError } from '../../lib/errors.ts'
import { typeOf } from '../files/info.ts'
import { layersOf } from './layers.ts'
import type { IsolatedSession } from './session.ts'

const MAX_CHANGES = 100_000

export type DiffedMount = {
  /** Where the mount lies in the session, and in execd's view what lies below it. */
  path: string
  upper: string
  /** The joined directory in execd's view, while the session lives. */
  merged: string
}

/** The mounts of a session whose changes are kept. Throws ShellGone when it is dead. */
export function diffedMounts(session: IsolatedSession): DiffedMount[] {
  const { plan, layersDir } = session.spec
  const root = `/proc/${session.requireNamespace().initPid}/root`
  return plan.mounts.flatMap(({ path, mode, persist }, index) =>
    mode === 'overlay' && persist
      ? [{ path, upper: layersOf(layersDir, index).upper, merged: join(root, path) }]
      : [],
  )
}

/** What a session has changed, mount by mount. */
export async function diffSession(session: IsolatedSession): Promise<IsolatedChange[]> {
  const found: IsolatedChange[] = []
  for (const mount of diffedMounts(session))
    found.push(...(await diffMount(mount, session.spec.isolator.config.diffMaxBytes)))
  return found
}

/** Everything that differs, a directory before what is in it. Throws a refusal when it is more than `maxBytes`. */
export async function diffMount(mount: DiffedMount, maxBytes: number): Promise<IsolatedChange[]> {
  const changes: IsolatedChange[] = []
  let bytes = 0
  const add = (path: string, change: IsolatedChange['change'], stat: Stats) => {
    const size = stat.isFile() ? stat.size : undefined
    changes.push({ path, change, type: typeOf(stat), ...(size === undefined ? {} : { size }) })
    if (change !== 'deleted') bytes += size ?? 0
    if (changes.length > MAX_CHANGES) throw tooLarge(`more than ${MAX_CHANGES} files and directories`)
    if (maxBytes > 0 && bytes > maxBytes) throw tooLarge(`more than diff_max_bytes = ${maxBytes}`)
  }

  const compare = async (below: string): Promise<void> => {
    const lowerDir = join(mount.path, below)
    const names = await namesIn(join(mount.upper, below))
    const isInLower = (await statOf(lowerDir))?.isDirectory() ?? false
    if (isInLower) {
      const lowerNames = await namesIn(lowerDir)
      const mergedNames = new Set(await namesIn(join(mount.merged, below)))
      for (const name of lowerNames) {
        const stat = mergedNames.has(name) ? undefined : await statOf(join(lowerDir, name))
        if (stat) add(join(lowerDir, name), 'deleted', stat)
      }
    }
    for (const name of names) {
      const path = join(lowerDir, name)
      const stat = await statOf(join(mount.upper, below, name))
      // Deleted, and told above.
      if (!stat || isWhiteout(stat)) continue
      const before = isInLower ? await statOf(path) : undefined
      if (!before) add(path, 'added', stat)
      else if (isDifferent(before, stat)) add(path, 'modified', stat)
      if (stat.isDirectory()) await compare(join(below, name))
    }
  }
  await compare('.')
  return changes
}

function isWhiteout(stat: Stats): boolean {
  return stat.isCharacterDevice() && stat.rdev === 0
}

/** A file that was only opened for writing is in the upper layer, too, with everything as it was. */
function isDifferent(before: Stats, after: Stats): boolean {
  const isSame = before.mode === after.mode && before.uid === after.uid && before.gid === after.gid
  return !isSame || (!after.isDirectory() && (before.size !== after.size || before.mtimeMs !== after.mtimeMs))
}

async function namesIn(dir: string): Promise<string[]> {
  return (await readdir(dir).catch(() => [])).sort()
}

async function statOf(path: string): Promise<Stats | undefined> {
  return lstat(path).catch(() => undefined)
}

function tooLarge(what: string): ApiError {
  return new ApiError(413, 'TOO_LARGE', `The session has changed ${what}`)
}
