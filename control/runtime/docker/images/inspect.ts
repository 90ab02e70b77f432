// What the daemon says of an image.

import type Docker from 'dockerode'
import { DEFAULT_PATH } from '../../../image/image.ts'
import type { RunConfig } from '../../boot-file.ts'
import { type Engine, isMissing } from '../engine.ts'

export type DockerImage = {
  /** Docker's own id, `sha256:…`. */
  id: string
  config: RunConfig
  /** Directories of the host that belong to the image, mounted read-only. */
  hostDirs: string[]
  /** What it declares as VOLUME. */
  volumes?: string[]
  /** What its registry calls it. */
  digest?: string
}

export type InspectedImage = DockerImage & {
  sizeBytes: number
  /** What it says that it is for; empty when it says nothing. */
  os: string
  arch: string
  /** Its names with a tag. */
  tags: string[]
  /** Its names with a digest: whatever was pulled or pushed has one. */
  digests: string[]
  /** When it got its last name here. */
  namedAt: number
}

/** What dockerode's types leave out. */
type Inspected = Docker.ImageInspectInfo & { Metadata?: { LastTagTime?: string } }

/** What the daemon has under a name or an id; undefined when there is nothing. */
export async function inspectImage(
  engine: Engine,
  name: string,
  signal: AbortSignal,
): Promise<InspectedImage | undefined> {
  try {
    const found: Inspected = await engine.call(
      (abortSignal) => engine.docker.getImage(name).inspect({ abortSignal } as object),
      { signal },
    )
    // An image that was imported has none.
    const { Env, WorkingDir, User, Volumes } = found.Config ?? {}
    const named = Date.parse(String(found.Metadata?.LastTagTime ?? ''))
    return {
      id: found.Id,
      config: {
        env: { PATH: DEFAULT_PATH, ...parseEnv(Env ?? []) },
        workdir: WorkingDir || '/',
        ...(User && { user: User }),
      },
      hostDirs: [],
      ...(Volumes && { volumes: Object.keys(Volumes) }),
      sizeBytes: found.Size,
      os: found.Os ?? '',
      arch: found.Architecture ?? '',
      tags: found.RepoTags ?? [],
      digests: found.RepoDigests ?? [],
      // A time before 1970 is how the daemon says that there is none.
      namedAt: named > 0 ? named : Date.parse(found.Created) || 0,
    }
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

function parseEnv(pairs: string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.flatMap((pair) => {
      const at = pair.indexOf('=')
      return at > 0 ? [[pair.slice(0, at), pair.slice(at + 1)]] : []
    }),
  )
}
