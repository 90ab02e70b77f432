// The disk of one sandbox (`resourceLimits.disk`): a file system of its own in a sparse file, in which its upper layer lies. It holds
// against root in the sandbox, it counts inodes as well as bytes, and it needs nothing of the file system below it
// (docs/decisions/disk-limits.md). The directory by which it speaks to the host lies beside it (control/runtime/exchange.ts).

import { existsSync, statfsSync } from 'node:fs'
import { mkdir, open, rm, rmdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { outputOf, type RunProgram } from '../../../lib/run-program.ts'
import { unmountAll } from '../staged-mounts.ts'

const TIMEOUT_MS = 60_000
/** Without a journal, as after a crash of the machine nobody mounts it again; without reserved blocks, as nobody here is root. */
const MAKE = [
  '-q',
  '-F',
  '-m',
  '0',
  '-O',
  '^has_journal',
  '-E',
  'lazy_itable_init=1,nodiscard',
  '-L',
  'sandbox',
]
/** What is deleted in the sandbox is given back to the host at once. */
const MOUNT = 'loop,noatime,discard'

export type DiskPaths = { file: string; mountPoint: string; folder: string }

export function diskPathsOf({ folder }: { folder: string }): DiskPaths {
  return { file: join(folder, 'disk.img'), mountPoint: join(folder, 'disk'), folder }
}

/** Makes and mounts the disk. */
export async function makeDisk(
  paths: DiskPaths,
  { bytes, run }: { bytes: number; run: RunProgram },
  signal: AbortSignal,
): Promise<void> {
  const options = { signal, timeoutMs: TIMEOUT_MS, by: run }
  await using file = await open(paths.file, 'wx', 0o600)
  await file.truncate(bytes)
  await outputOf('mkfs.ext4', [...MAKE, paths.file], options)
  await mkdir(paths.mountPoint, { mode: 0o711 })
  await outputOf('mount', ['-t', 'ext4', '-o', MOUNT, paths.file, paths.mountPoint], options)
  await rmdir(join(paths.mountPoint, 'lost+found'))
  // Where they lie without a disk.
  for (const name of ['upper', 'work']) await symlink(join('disk', name), join(paths.folder, name))
}

/** Takes the disk away; fine when there is none, or half of one. */
export async function removeDisk(paths: DiskPaths, run: RunProgram, signal: AbortSignal): Promise<void> {
  if (!existsSync(paths.file)) return
  await unmountAll(paths.mountPoint, run, signal)
  await rm(paths.file, { force: true })
}

/** How large a disk can be here at most, or why there is none. */
export function diskAbility(dataDir: string, has: (path: string) => boolean = existsSync): number | string {
  if (!has('/dev/loop-control')) return 'the kernel of this machine has no loop devices'
  if (!['/usr/sbin/mkfs.ext4', '/sbin/mkfs.ext4', '/usr/local/sbin/mkfs.ext4'].some(has))
    return 'the program "mkfs.ext4" is missing: its operator can install the package e2fsprogs'
  const { blocks, bsize } = statfsSync(dataDir)
  return blocks * bsize
}
