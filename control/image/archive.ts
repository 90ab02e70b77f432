// Archives on this machine's disk: a root file system tarball, an OCI archive or layout, or what `docker save` writes.

import { existsSync, type Stats } from 'node:fs'
import { chmod, lchown, lstat, mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { outputOf } from '../../lib/run-program.ts'
import { RuntimeError } from '../runtime/runtime.ts'
import { ID_MAP } from './image.ts'

const ARCHIVE_KINDS = ['oci-layout', 'oci-archive', 'docker-archive', 'rootfs'] as const
export type ArchiveKind = (typeof ARCHIVE_KINDS)[number]

const LIST_TIMEOUT_MS = 120_000
const LIST_MAX_BYTES = 256 << 20

/** What an archive is, by its content. */
export async function archiveKindOf(path: string, signal: AbortSignal): Promise<ArchiveKind> {
  if ((await stat(path)).isDirectory()) {
    if (existsSync(join(path, 'oci-layout'))) return 'oci-layout'
    throw new RuntimeError(
      'image_not_found',
      `"${path}" is a directory without an "oci-layout": it must be an OCI layout or an archive`,
    )
  }
  const listing = await outputOf('tar', ['--list', '--file', path], {
    signal,
    timeoutMs: LIST_TIMEOUT_MS,
    maxOutputBytes: LIST_MAX_BYTES,
  })
  const kind = decideArchiveKind(listing.split('\n'))
  if (kind) return kind
  throw new RuntimeError(
    'image_not_found',
    `"${path}" is no image: it holds neither "oci-layout" nor "manifest.json", nor a root file system with "bin", "usr" or "etc"`,
  )
}

/** The kind of an archive with these entries, or undefined when it is none that holds an image. */
export function decideArchiveKind(entries: string[]): ArchiveKind | undefined {
  const top = new Set(entries.map((entry) => entry.replace(/^(\.?\/)+/, '').split('/')[0] ?? ''))
  // Newer versions of docker write both forms into one archive; the OCI form says more.
  if (top.has('oci-layout') && top.has('index.json') && !top.has('manifest.json')) return 'oci-archive'
  if (top.has('manifest.json')) return 'docker-archive'
  if (top.has('oci-layout')) return 'oci-archive'
  return top.has('usr') || top.has('bin') || top.has('etc') ? 'rootfs' : undefined
}

/** Unpacks a root file system tarball into `rootfs`, which must not exist, and gives its files to the mapped range. */
export async function unpackRootTarball(
  path: string,
  rootfs: string,
  options: { signal: AbortSignal; timeoutMs: number },
): Promise<void> {
  await mkdir(rootfs, { mode: 0o755 })
  // Device nodes are the sandbox's own business: it gets its /dev from the runtime.
  const args = [
    '--extract',
    '--preserve-permissions',
    '--numeric-owner',
    '--exclude=./dev/*',
    '--exclude=dev/*',
    '--directory',
    rootfs,
  ]
  await outputOf('tar', [...args, '--file', path], options)
  await shiftOwners(rootfs, new Set(), options.signal)
}

async function shiftOwners(path: string, linked: Set<number>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const found = await lstat(path)
  // A file with several names is met several times and shifted once.
  const again = found.nlink > 1 && !found.isDirectory() && linked.has(found.ino)
  if (!again) {
    linked.add(found.ino)
    await lchown(path, ID_MAP.hostId + inRange(found.uid), ID_MAP.hostId + inRange(found.gid))
    // Changing the owner clears the set-id bits.
    if (hasSetId(found)) await chmod(path, found.mode & 0o7777)
  }
  if (found.isDirectory())
    for (const name of await readdir(path)) await shiftOwners(join(path, name), linked, signal)
}

const inRange = (id: number) => (id < ID_MAP.size ? id : ID_MAP.size - 2)
const hasSetId = (found: Stats) => !found.isSymbolicLink() && (found.mode & 0o6000) !== 0
