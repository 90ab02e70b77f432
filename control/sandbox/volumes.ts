// Host directories in a sandbox (contract: lifecycle.md 5.6). What may be mounted is the operator's list and nothing else; a
// path is judged twice, as text and as what it really is after its symbolic links.

import { isAbsolute, join, normalize } from 'node:path'
import { EXCHANGE_DIR, GUEST_DIR } from '../../lib/api/guest.ts'
import type { VolumeRequest } from '../../lib/api/lifecycle-volumes.ts'
import { systemCodeOf } from '../../lib/errors.ts'
import { refusal } from '../errors.ts'
import type { Mount } from '../store/schema.ts'

/** What the sandbox itself depends on, or what belongs to the kernel. */
const CLOSED_TARGETS = ['/proc', '/sys', '/dev', GUEST_DIR, EXCHANGE_DIR]

/** The questions to the file system; a test answers them with literals. */
export type HostFiles = {
  realPath: (path: string) => Promise<string>
  makeDirectory: (path: string) => Promise<void>
}

/** The mounts that a request names, judged as text. Throws a 400 for each thing that may not be. */
export function planMounts(volumes: VolumeRequest[], allowedPaths: string[]): Mount[] {
  const names = new Set<string>()
  const targets = new Set<string>()
  return volumes.map((volume, index) => {
    const where = `volumes[${index}]`
    if (names.has(volume.name))
      throw refusal('VOLUME::DUPLICATE_NAME', `${where}.name is used by another volume of this request`)
    names.add(volume.name)
    const target = planTarget(volume.mountPath, where)
    if (targets.has(target))
      throw refusal(
        'VOLUME::INVALID_MOUNT_PATH',
        `${where}.mountPath is used by another volume of this request`,
      )
    targets.add(target)
    const subPath = planSubPath(volume.subPath, where)
    if (!volume.host)
      throw refusal(
        'VOLUME::UNSUPPORTED_BACKEND',
        `${where}: this runtime has no ${volume.pvc ? 'pvc' : 'ossfs'} volumes, only host ones`,
      )
    const path = planHostPath(volume.host.path, where)
    const source = subPath ? join(path, subPath) : path
    if (!isAllowed(path, allowedPaths) || !isAllowed(source, allowedPaths))
      throw refusal(
        'VOLUME::HOST_PATH_NOT_ALLOWED',
        `${where}.host.path is not below any of storage.allowed_host_paths (${allowedPaths.length} configured)`,
      )
    return { source, target, readOnly: volume.readOnly ?? false }
  })
}

/**
 * Judges where the sources really are, makes those that are missing, and gives the mounts with their real paths. Called when
 * nothing else can refuse the request any more, so that a refused one leaves no directory behind.
 */
export async function openMounts(
  mounts: Mount[],
  allowedPaths: string[],
  files: HostFiles,
): Promise<Mount[]> {
  const realAllowed = await Promise.all(allowedPaths.map((path) => realPathOf(path, files)))
  const allowed = realAllowed.filter((path) => path !== undefined)
  const check = (path: string, index: number) => {
    if (!isAllowed(path, allowed))
      throw refusal(
        'VOLUME::HOST_PATH_NOT_ALLOWED',
        `volumes[${index}].host.path leads out of storage.allowed_host_paths by a symbolic link`,
      )
  }
  const opened: Mount[] = []
  for (const [index, mount] of mounts.entries()) {
    // Before something is made, the nearest directory that exists must already lie inside.
    let existing = mount.source
    while ((await realPathOf(existing, files)) === undefined && existing !== '/')
      existing = join(existing, '..')
    check((await realPathOf(existing, files)) ?? '/', index)
    if (existing !== mount.source) {
      try {
        await files.makeDirectory(mount.source)
      } catch (error) {
        throw refusal('VOLUME::HOST_PATH_CREATE_FAILED', `volumes[${index}].host.path could not be made`, {
          cause: error,
        })
      }
    }
    const source = await files.realPath(mount.source)
    check(source, index)
    opened.push({ ...mount, source })
  }
  return opened
}

function planTarget(mountPath: string, where: string): string {
  const target = normalize(mountPath).replace(/(.)\/+$/, '$1')
  const refuse = (message: string) => {
    throw refusal('VOLUME::INVALID_MOUNT_PATH', `${where}.mountPath ${message}`)
  }
  if (mountPath.split('/').includes('..')) refuse('must not hold ".."')
  if (target === '/') refuse('must not be "/"')
  const closed = CLOSED_TARGETS.find((path) => isInside(target, path) || isInside(path, target))
  if (closed) refuse(`must not cover or lie in "${closed}"`)
  return target
}

function planSubPath(subPath: string | undefined, where: string): string | undefined {
  if (subPath === undefined || subPath === '') return undefined
  if (isAbsolute(subPath) || subPath.split(/[\\/]/).includes('..'))
    throw refusal('VOLUME::INVALID_SUB_PATH', `${where}.subPath must be relative and must not hold ".."`)
  return normalize(subPath)
}

function planHostPath(path: string, where: string): string {
  if (!path.startsWith('/'))
    throw refusal('VOLUME::INVALID_HOST_PATH', `${where}.host.path must begin with "/" on this machine`)
  if (path.split('/').includes('..') || path.includes('//') || (path !== '/' && path.endsWith('/')))
    throw refusal(
      'VOLUME::INVALID_HOST_PATH',
      `${where}.host.path must not hold ".." or "//" and must not end with "/"`,
    )
  return normalize(path)
}

function isAllowed(path: string, allowedPaths: string[]): boolean {
  return allowedPaths.some((allowed) => isInside(path, normalize(allowed).replace(/(.)\/+$/, '$1')))
}

function isInside(path: string, parent: string): boolean {
  return parent === '/' || path === parent || path.startsWith(`${parent}/`)
}

async function realPathOf(path: string, files: HostFiles): Promise<string | undefined> {
  try {
    return await files.realPath(path)
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw refusal('VOLUME::INVALID_HOST_PATH', 'a host path cannot be read', { cause: error })
  }
}
