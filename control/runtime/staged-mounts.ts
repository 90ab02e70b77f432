// What a sandbox mounts, bound beforehand to names that are ours alone. Whoever makes the sandbox, an OCI runtime or a daemon, follows
// paths; below a directory that others can write to, what a path leads to may have been swapped since it was judged. So the thing
// that was judged is held open, bound to a place below the run directory, and only that place is named to anybody.
//
// Nothing here is ever removed with what is below it: a place is unmounted, and then it is an empty directory or file.

import { readFileSync } from 'node:fs'
import { lstat, mkdir, readdir, rmdir, unlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'
import { mountPointsIn } from '../../lib/mountinfo.ts'
import { outputOf, type RunProgram } from '../../lib/run-program.ts'
import { type HeldPath, holdBelow, holdPath, LeadsAway, type Owner } from './held-path.ts'
import { RuntimeError, type RuntimeSpec } from './runtime.ts'

const TIMEOUT_MS = 20_000

export type StagedMount = {
  /** Below the run directory. */
  source: string
  target: string
  readOnly: boolean
  /** What lies there, by what tells it from everything else on the machine. */
  device: number
  inode: number
}

export type StagingOptions = {
  /** The directory of the sandbox's places. */
  folder: string
  /** Where the files of a named volume lie. */
  volumePath: (key: string) => string
  /** Who is root in the sandbox. */
  owner: Owner
  run: RunProgram
}

/** Binds everything that a sandbox mounts; outer targets come before those within them. */
export async function stageMounts(
  { mounts, volumes = [] }: Pick<RuntimeSpec, 'mounts' | 'volumes'>,
  options: StagingOptions,
  signal: AbortSignal,
): Promise<StagedMount[]> {
  if (mounts.length === 0 && volumes.length === 0) return []
  await mkdir(dirname(options.folder), { recursive: true, mode: 0o700 })
  await mkdir(options.folder, { mode: 0o700 })
  const wanted = [
    ...mounts.map((mount) => ({ ...mount, hold: () => holdHostPath(mount) })),
    ...volumes.map((mount) => ({ ...mount, hold: () => holdVolume(mount, options) })),
  ].sort((one, other) => (one.target < other.target ? -1 : 1))
  const staged: StagedMount[] = []
  for (const { target, readOnly, hold } of wanted) {
    await using held = await hold()
    const source = join(options.folder, String(staged.length))
    staged.push({ source, target, readOnly, ...(await bind(held, source, options.run, signal)) })
  }
  return staged
}

/** Takes away all places of a sandbox; fine when there are none. */
export async function unstageMounts(folder: string, run: RunProgram, signal: AbortSignal): Promise<void> {
  const names = await readdir(folder).catch((error) => {
    if (systemCodeOf(error) === 'ENOENT') return undefined
    throw error
  })
  if (!names) return
  for (const name of names) {
    const path = join(folder, name)
    await unmountAll(path, run, signal)
    if ((await lstat(path)).isDirectory()) await rmdir(path)
    else await unlink(path)
  }
  await rmdir(folder)
}

/** Unmounts whatever is mounted at a path, at once for everyone even when something still holds it. */
export async function unmountAll(path: string, run: RunProgram, signal: AbortSignal): Promise<void> {
  const points = mountPointsIn(readFileSync('/proc/self/mountinfo', 'utf8'))
  const count = points.filter((point) => point === path).length
  for (let at = 0; at < count; at++)
    await outputOf('umount', ['--lazy', '--no-canonicalize', path], {
      signal,
      timeoutMs: TIMEOUT_MS,
      by: run,
    })
}

async function bind(
  held: HeldPath,
  place: string,
  run: RunProgram,
  signal: AbortSignal,
): Promise<{ device: number; inode: number }> {
  if (held.isDirectory) await mkdir(place)
  else await writeFile(place, '', { flag: 'wx' })
  // By the name that the kernel has for what is held; a program that looked up where that leads would follow a path again.
  await outputOf('mount', ['--no-canonicalize', '--bind', held.link, place], {
    signal,
    timeoutMs: TIMEOUT_MS,
    by: run,
  })
  const { dev: device, ino: inode } = await lstat(place)
  if (device !== held.device || inode !== held.inode)
    throw new RuntimeError('start_failed', 'What was to be mounted is not what lies there')
  return { device, inode }
}

async function holdHostPath({ source, target }: { source: string; target: string }): Promise<HeldPath> {
  try {
    return await holdPath(source)
  } catch (error) {
    const code = systemCodeOf(error)
    if (!(error instanceof LeadsAway) && code !== 'ENOENT') throw error
    throw new RuntimeError(
      'host_path_refused',
      `The host path of the volume at "${target}" was changed while the sandbox was made`,
      { cause: error },
    )
  }
}

async function holdVolume(
  { key, subPath, target }: { key: string; subPath?: string; target: string },
  { volumePath, owner }: StagingOptions,
): Promise<HeldPath> {
  try {
    return await holdBelow(volumePath(key), subPath ?? '', owner)
  } catch (error) {
    const code = systemCodeOf(error)
    if (error instanceof LeadsAway || code === 'ENOTDIR' || code === 'ENAMETOOLONG')
      throw new RuntimeError(
        'sub_path_refused',
        `subPath of the volume at "${target}" leads out of the volume, or through something that is no directory`,
        { cause: error },
      )
    if (code === 'ENOENT')
      throw new RuntimeError('start_failed', `The files of the volume at "${target}" are gone`, {
        cause: error,
      })
    throw error
  }
}
