// Named volumes (contract: lifecycle.md 5.6, `pvc`). Each tenant has its own names; of another's nobody learns even that it exists.
// The row decides: it is written before the files are made and goes after them, so that whatever interrupts this can be finished.

import { messageOf } from '../../lib/errors.ts'
import { eachOf } from '../async.ts'
import { refusal } from '../errors.ts'
import type { VolumeMount, Volumes } from '../runtime/volumes.ts'
import type { Store } from '../store/sqlite.ts'
import type { VolumeClaim, VolumeName, VolumeRow } from '../store/volumes.ts'
import type { Lives } from './lives.ts'

const MAKE_TIMEOUT_MS = 30_000
const REMOVE_TIMEOUT_MS = 10 * 60_000
/** So long after it was asked for, a volume that is not made yet will not be: whoever asked has gone. */
const ABANDONED_MS = 2 * MAKE_TIMEOUT_MS
const MAX_VOLUMES_PER_TENANT = 10_000
/** So many are removed side by side. */
const WIDTH = 4

/** Throws when a tenant does not have a volume that it asks for, may not have one more, or not write to those that it has. */
export function requireVolumes(
  { store: { volumes }, quotas }: Pick<Lives, 'store' | 'quotas'>,
  tenant: string,
  claims: VolumeClaim[] = [],
): void {
  if (claims.length === 0) return
  const made = new Set(claims.filter((claim) => claim.createIfMissing).map(({ name }) => name))
  const missing = new Set(claims.map(({ name }) => name).filter((name) => !volumes.get({ tenant, name })))
  for (const name of missing)
    if (!made.has(name))
      throw refusal(
        'VOLUME::PVC_NOT_FOUND',
        `volumes: pvc.claimName "${name}" is no volume that there is, and createIfNotExists is false`,
      )
  if (missing.size > 0) requireRoom(volumes.count(tenant) + missing.size)
  if (missing.size > 0 || claims.some(({ readOnly }) => !readOnly)) quotas.admitVolume(tenant)
}

/** What a sandbox mounts of named volumes, whose files are there from now on. */
export async function openVolumes(
  { store, runtime }: Pick<Lives, 'store' | 'runtime'>,
  sandboxId: string,
  signal: AbortSignal,
): Promise<VolumeMount[]> {
  const uses = store.volumes.usesOf(sandboxId)
  for (const { key, state } of uses) {
    if (state !== 'making') continue
    await required(runtime.volumes).create(key, signal)
    store.volumes.made(key)
  }
  return uses.map(({ key, subPath, target, readOnly }) => ({
    key,
    ...(subPath !== null && { subPath }),
    target,
    readOnly,
  }))
}

/** Makes a volume by itself. */
export async function createVolume(
  { store, runtime, quotas, now, signal }: Pick<Lives, 'store' | 'runtime' | 'quotas' | 'now' | 'signal'>,
  wanted: VolumeName,
  createdBy: string,
): Promise<VolumeRow> {
  const { volumes } = store
  const port = required(runtime.volumes)
  if (volumes.get(wanted))
    throw refusal('VOLUME::ALREADY_EXISTS', `There is a volume "${wanted.name}" already`)
  requireRoom(volumes.count(wanted.tenant) + 1)
  quotas.admitVolume(wanted.tenant)
  const { key } = volumes.insert({ ...wanted, lifetime: 'asked', createdBy, createdAt: now() })
  try {
    await port.create(key, AbortSignal.any([signal, AbortSignal.timeout(MAKE_TIMEOUT_MS)]))
    volumes.made(key)
  } catch (error) {
    volumes.markRemoved(wanted)
    throw refusal('VOLUME::CREATE_FAILED', `The volume "${wanted.name}" could not be made`, { cause: error })
  }
  const made = volumes.get(wanted)
  if (!made) throw noVolume()
  return made
}

/** Removes a volume with all that is in it. From then on its name is free; its files go in the background. */
export function removeVolume({ volumes }: Store, wanted: VolumeName): void {
  // What makes it now would put its files there once more, after they have gone.
  if (volumes.get(wanted)?.lifetime === 'asked')
    throw refusal('VOLUME::IN_USE', `The volume "${wanted.name}" is being made: try again in a moment`)
  const outcome = volumes.markRemoved(wanted)
  if (outcome === 'absent') throw noVolume()
  if (outcome === 'in_use')
    throw refusal(
      'VOLUME::IN_USE',
      `The volume "${wanted.name}" is mounted by a sandbox: remove that one first`,
    )
}

/** Removes the files of volumes that nobody has any more. What fails is told, and left for the next time. */
export async function clearVolumes(lives: Lives): Promise<{ isDone: boolean }> {
  const { store, runtime, now, signal, log } = lives
  store.volumes.markAbandoned(now() - ABANDONED_MS)
  let isDone = true
  // One with millions of files holds up nobody else's.
  await eachOf(store.volumes.going(), WIDTH, async ({ key, name, tenant }) => {
    if (signal.aborted) return
    try {
      await runtime.volumes?.remove(key, AbortSignal.any([signal, AbortSignal.timeout(REMOVE_TIMEOUT_MS)]))
      store.volumes.delete(key)
      log.info('volume is gone', { volume: name, tenant })
    } catch (error) {
      if (signal.aborted) return
      isDone = false
      log.error('a volume could not be removed yet', { volume: name, tenant, error: messageOf(error) })
    }
  })
  return { isDone }
}

export function noVolume(): Error {
  return refusal('VOLUME::NOT_FOUND', 'There is no volume with this name')
}

/** Throws 400 where the runtime has none. */
export function required(volumes: Volumes | undefined): Volumes {
  if (!volumes) throw refusal('VOLUME::UNSUPPORTED_BACKEND', 'This runtime has no named volumes')
  return volumes
}

function requireRoom(count: number): void {
  if (count > MAX_VOLUMES_PER_TENANT)
    throw refusal(
      'KUBERNETES::QUOTA_EXCEEDED',
      `A tenant has at most ${MAX_VOLUMES_PER_TENANT} volumes: remove some first`,
    )
}
