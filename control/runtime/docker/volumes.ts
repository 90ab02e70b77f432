// Named volumes as volumes of the daemon, of its driver `local`, named after this installation and the volume's key. Those of others
// are never touched: a name is made of a key that only this installation has given out.

import { directorySize } from '../directory-size.ts'
import { RuntimeError } from '../runtime.ts'
import type { Volumes } from '../volumes.ts'
import { EngineRefusal, isMissing } from './engine.ts'
import { INSTANCE_LABEL } from './ownership.ts'
import type { DockerParts } from './parts.ts'

type VolumeParts = Pick<DockerParts, 'engine' | 'instance' | 'programs'>

/** What the daemon calls a volume. */
export function volumeNameOf({ instance }: Pick<DockerParts, 'instance'>, key: string): string {
  return `opensandbox-${instance.key}-${key}`
}

/** Where the daemon keeps the files of a volume. */
export async function volumePathOf(parts: VolumeParts, key: string, signal: AbortSignal): Promise<string> {
  const { engine } = parts
  const volume = engine.docker.getVolume(volumeNameOf(parts, key))
  try {
    const { Mountpoint, Driver } = await engine.call(
      (abortSignal) => volume.inspect({ abortSignal } as object),
      { signal },
    )
    if (Driver !== 'local' || !Mountpoint)
      throw new RuntimeError(
        'start_failed',
        `The volume is not kept by the driver "local", but by "${Driver}"`,
      )
    return Mountpoint
  } catch (error) {
    if (!isMissing(error)) throw error
    throw new RuntimeError('start_failed', 'The files of a volume are gone', { cause: error })
  }
}

export function createDockerVolumes(parts: VolumeParts): Volumes {
  const { engine, instance, programs } = parts
  const prefix = volumeNameOf(parts, '')
  return {
    async create(key) {
      await engine.call((abortSignal) =>
        engine.docker.createVolume({
          Name: volumeNameOf(parts, key),
          Driver: 'local',
          Labels: { [INSTANCE_LABEL]: instance.key },
          abortSignal,
        }),
      )
    },
    async remove(key) {
      const volume = engine.docker.getVolume(volumeNameOf(parts, key))
      try {
        await engine.call((abortSignal) => volume.remove({ abortSignal }))
      } catch (error) {
        if (!(error instanceof EngineRefusal && error.status === 404)) throw error
      }
    },
    async list(signal) {
      const { Volumes = [] } = await engine.call(
        (abortSignal) =>
          engine.docker.listVolumes({
            filters: { label: [`${INSTANCE_LABEL}=${instance.key}`] },
            abortSignal,
          } as object),
        { signal },
      )
      return Volumes.map(({ Name }) => Name)
        .filter((name) => name.startsWith(prefix))
        .map((name) => name.slice(prefix.length))
    },
    sizeOf: async (key, signal) =>
      await directorySize(await volumePathOf(parts, key, signal), programs.run, signal),
  }
}
