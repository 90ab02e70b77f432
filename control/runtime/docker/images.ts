// Images as the daemon has them: by reference, by the names that the configuration gives, and the machine's own as `host`.

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { isAbsolute } from 'node:path'
import { systemCodeOf } from '../../../lib/errors.ts'
import { archiveKindOf } from '../../image/archive.ts'
import { DEFAULT_PATH } from '../../image/image.ts'
import type { RunConfig } from '../boot-file.ts'
import type { ImageRequest } from '../images.ts'
import { RuntimeError } from '../runtime.ts'
import { type Engine, EngineRefusal, isMissing } from './engine.ts'
import { ensureHostImage } from './host-image.ts'

export type DockerImage = {
  /** Docker's own id, `sha256:…`. */
  id: string
  config: RunConfig
  /** Directories of the host that belong to the image, mounted read-only. */
  hostDirs: string[]
  /** What its registry calls it. */
  digest?: string
}

export type DockerImages = {
  /** Finds the image, or brings it. Rejects with RuntimeError, or the signal's reason. */
  resolve(
    request: ImageRequest,
    signal: AbortSignal,
    progress?: (message: string) => void,
  ): Promise<DockerImage>
}

export type DockerImagesOptions = {
  engine: Engine
  /** Alias to reference, or to the path of an archive. */
  aliases: Record<string, string>
  pullTimeoutMs: number
}

export function createDockerImages({ engine, aliases, pullTimeoutMs }: DockerImagesOptions): DockerImages {
  const resolve: DockerImages['resolve'] = async ({ uri, auth }, signal, progress = () => {}) => {
    const target = (Object.hasOwn(aliases, uri) ? aliases[uri] : undefined) ?? uri
    if (target === 'host') return await ensureHostImage(engine, { timeoutMs: pullTimeoutMs, signal })
    // Only the operator's configuration names files of this machine; a client's reference never does.
    if (target !== uri && isAbsolute(target))
      return await importArchive(engine, { alias: uri, path: target, timeoutMs: pullTimeoutMs, signal })
    const found = await inspectImage(engine, target, signal)
    if (found) return found
    progress(`Pulling image "${uri}"`)
    await pull(engine, { reference: target, shownAs: uri, auth, timeoutMs: pullTimeoutMs, signal })
    const pulled = await inspectImage(engine, target, signal)
    if (!pulled) throw new RuntimeError('image_pull_failed', `Image "${uri}" was removed while it was pulled`)
    return pulled
  }
  return { resolve }
}

/** What the daemon has under a name or an id; undefined when there is nothing. */
export async function inspectImage(
  engine: Engine,
  name: string,
  signal: AbortSignal,
): Promise<DockerImage | undefined> {
  try {
    const found = await engine.call(
      (abortSignal) => engine.docker.getImage(name).inspect({ abortSignal } as object),
      {
        signal,
      },
    )
    const { Env, WorkingDir, User } = found.Config
    return {
      id: found.Id,
      config: {
        env: { PATH: DEFAULT_PATH, ...parseEnv(Env ?? []) },
        workdir: WorkingDir || '/',
        ...(User && { user: User }),
      },
      hostDirs: [],
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

async function pull(
  engine: Engine,
  options: {
    reference: string
    shownAs: string
    auth: ImageRequest['auth']
    timeoutMs: number
    signal: AbortSignal
  },
): Promise<void> {
  const { reference, shownAs, auth, timeoutMs, signal } = options
  try {
    await engine.call(
      async (abortSignal) => {
        const stream = await engine.docker.pull(reference, { abortSignal, ...(auth && { authconfig: auth }) })
        await new Promise<void>((done, fail) =>
          engine.docker.modem.followProgress(stream, (error) => (error ? fail(error) : done())),
        )
      },
      { signal, timeoutMs },
    )
  } catch (error) {
    if (error instanceof EngineRefusal && error.status === 404)
      throw new RuntimeError('image_not_found', `There is no image "${shownAs}"`, { cause: error })
    if (error instanceof RuntimeError) throw error
    signal.throwIfAborted()
    throw new RuntimeError('image_pull_failed', `Cannot pull image "${shownAs}"`, { cause: error })
  }
}

async function importArchive(
  engine: Engine,
  { alias, path, timeoutMs, signal }: { alias: string; path: string; timeoutMs: number; signal: AbortSignal },
): Promise<DockerImage> {
  const found = await stat(path).catch((error) => {
    throw new RuntimeError(
      'image_not_found',
      `Image "${alias}" is "${path}" by the configuration, which cannot be read (${systemCodeOf(error)})`,
      { cause: error },
    )
  })
  const key = createHash('sha256').update(`${path} ${found.size} ${found.mtimeMs}`).digest('hex').slice(0, 32)
  const name = `opensandbox/archive:${key}`
  const known = await inspectImage(engine, name, signal)
  if (known) return known
  if ((await archiveKindOf(path, signal)) !== 'rootfs')
    throw new RuntimeError('unsupported', `Image "${alias}" is no root file system tarball`)
  await engine.call(
    async (abortSignal) => {
      const stream = await engine.docker.importImage(createReadStream(path), {
        repo: 'opensandbox/archive',
        tag: key,
        abortSignal,
      } as object)
      await new Promise<void>((done, fail) =>
        engine.docker.modem.followProgress(stream, (error) => (error ? fail(error) : done())),
      )
    },
    { signal, timeoutMs },
  )
  const imported = await inspectImage(engine, name, signal)
  if (!imported) throw new RuntimeError('image_pull_failed', `Image "${alias}" was removed while it was made`)
  return imported
}
