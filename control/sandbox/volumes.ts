// What a request says of volumes, judged as text (contract: lifecycle.md 5.6): host directories, of which the operator's list says
// what may be mounted, and named volumes, which are the tenant's own. What a host path really is, host-paths.ts looks at.

import { isAbsolute, join, normalize } from 'node:path'
import { EXCHANGE_DIR, GUEST_DIR } from '../../lib/api/guest.ts'
import type { VolumeRequest } from '../../lib/api/lifecycle-volumes.ts'
import { refusal } from '../errors.ts'
import type { Mount } from '../store/schema.ts'
import type { VolumeClaim } from '../store/volumes.ts'
import { isAllowed, isInside } from './host-paths.ts'

/** What the sandbox itself depends on, or what belongs to the kernel. */
const CLOSED_TARGETS = ['/proc', '/sys', '/dev', GUEST_DIR, EXCHANGE_DIR]

/** What a cluster's volumes have and these do not. */
const CLUSTER_FIELDS = ['storageClass', 'storage', 'accessModes'] as const

export type PlannedVolumes = { mounts: Mount[]; claims: VolumeClaim[]; warnings: string[] }

/** The mounts that a request names. Throws a 400 for each thing that may not be. */
export function planVolumes(
  volumes: VolumeRequest[],
  { allowedPaths, hasNamed }: { allowedPaths: string[]; hasNamed: boolean },
): PlannedVolumes {
  const names = new Set<string>()
  const targets = new Set<string>()
  const planned: PlannedVolumes = { mounts: [], claims: [], warnings: [] }
  for (const [index, volume] of volumes.entries()) {
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
    const readOnly = volume.readOnly ?? false
    if (volume.pvc && hasNamed) {
      const { claimName: name, createIfNotExists = true, deleteOnSandboxTermination = false } = volume.pvc
      for (const field of CLUSTER_FIELDS)
        if (volume.pvc[field] !== undefined)
          planned.warnings.push(`${where}.pvc.${field} has no effect on this runtime`)
      planned.claims.push({
        name,
        createIfMissing: createIfNotExists,
        deleteWithSandbox: deleteOnSandboxTermination,
        ...(subPath !== undefined && { subPath }),
        target,
        readOnly,
      })
    } else if (volume.host) {
      planned.mounts.push({
        source: planSource(volume.host.path, subPath, allowedPaths, where),
        target,
        readOnly,
      })
    } else
      throw refusal(
        'VOLUME::UNSUPPORTED_BACKEND',
        `${where}: this runtime has no ${volume.pvc ? 'pvc' : 'ossfs'} volumes, only ${hasNamed ? 'host and pvc' : 'host'} ones`,
      )
  }
  return planned
}

function planSource(
  hostPath: string,
  subPath: string | undefined,
  allowedPaths: string[],
  where: string,
): string {
  const path = planHostPath(hostPath, where)
  const source = subPath ? join(path, subPath) : path
  if (!isAllowed(path, allowedPaths) || !isAllowed(source, allowedPaths))
    throw refusal(
      'VOLUME::HOST_PATH_NOT_ALLOWED',
      `${where}.host.path is not below any of storage.allowed_host_paths (${allowedPaths.length} configured)`,
    )
  return source
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
  const path = normalize(subPath).replace(/\/+$/, '')
  return path === '.' ? undefined : path
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
