// Where an image can come from: this machine's own files, an archive that the configuration names, a registry. Each knows the name of
// its content before that is made, and how to make it.

import { createHash } from 'node:crypto'
import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { ImageOrigin } from '../../lib/api/images.ts'
import { systemCodeOf } from '../../lib/errors.ts'
import type { ImageAuth } from '../runtime/images.ts'
import { RuntimeError } from '../runtime/runtime.ts'
import { archiveKindOf, unpackRootTarball } from './archive.ts'
import { HOST_DIRS, HOST_IMAGE_CONFIG, hostImageKey, makeHostRoot } from './host.ts'
import { DEFAULT_PATH, type ImageConfig } from './image.ts'
import { type PullSource, pullImage } from './pull.ts'
import { pinned, type Reference } from './reference.ts'
import type { Progress } from './shared-work.ts'
import { usageOf, withinSpace } from './space.ts'
import { sweepRoot } from './sweep.ts'

export type Built = { config: ImageConfig; digest?: string; sizeBytes: number }

export type Source = {
  /** By what the store finds the content. */
  id: string
  /** As the caller named it. */
  shownAs: string
  origin: ImageOrigin
  hostDirs: string[]
  /** Makes `{folder}/rootfs`. */
  build: (folder: string, signal: AbortSignal, progress: Progress) => Promise<Built>
}

export type SourceOptions = {
  proxyEnvironment?: Record<string, string>
  pullTimeoutMs: number
  stallMs?: number
  maxUnpackedBytes: number
}

/** The name of a content in the store. */
export function contentId(key: string): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 32)
}

export function hostSource(): Source {
  return {
    id: contentId(hostImageKey()),
    shownAs: 'host',
    origin: 'host',
    hostDirs: HOST_DIRS,
    async build(folder, signal) {
      const rootfs = join(folder, 'rootfs')
      await mkdir(rootfs, { mode: 0o755 })
      await makeHostRoot(rootfs)
      return { config: HOST_IMAGE_CONFIG, sizeBytes: (await usageOf(rootfs, signal)).bytes }
    },
  }
}

/** An archive on this machine's disk; a changed file is another image. */
export async function archiveSource(alias: string, path: string, options: SourceOptions): Promise<Source> {
  const found = await stat(path).catch((error) => {
    throw new RuntimeError(
      'image_not_found',
      `Image "${alias}" is "${path}" by the configuration, which cannot be read (${systemCodeOf(error)})`,
      { cause: error },
    )
  })
  const { pullTimeoutMs: timeoutMs, maxUnpackedBytes: maxBytes } = options
  return {
    id: contentId(`archive ${path} ${found.size} ${found.mtimeMs}`),
    shownAs: alias,
    origin: 'archive',
    hostDirs: [],
    async build(folder, signal, progress) {
      const kind = await archiveKindOf(path, signal)
      if (kind !== 'rootfs')
        return await pullImage(
          { kind: kind === 'oci-layout' ? 'oci' : kind, path },
          {
            folder,
            shownAs: alias,
            maxBytes,
            progress,
            signal,
            timeoutMs,
          },
        )
      progress(`Unpacking image "${alias}"`)
      const rootfs = join(folder, 'rootfs')
      const { usage } = await withinSpace(folder, { maxBytes, shownAs: alias }, signal, async (bound) => {
        await unpackRootTarball(path, rootfs, { signal: bound, timeoutMs })
        await sweepRoot(rootfs, { signal: bound, timeoutMs })
      })
      const config = { env: { PATH: DEFAULT_PATH }, workdir: '/', uid: 0, gid: 0 }
      return { config, sizeBytes: usage.bytes }
    },
  }
}

/**
 * What a registry has under a digest. Another repository with the same digest is another image: who is let into one has shown nothing of
 * the other, and a registry of their own would tell them whatever they like.
 */
export function registrySource(
  reference: Reference & { digest: string },
  { shownAs, auth, isInsecure }: { shownAs: string; auth?: ImageAuth; isInsecure: boolean },
  options: SourceOptions,
): Source {
  const { pullTimeoutMs, maxUnpackedBytes, proxyEnvironment, stallMs } = options
  const name = pinned(reference, reference.digest)
  return {
    id: contentId(`registry ${name}`),
    shownAs,
    origin: 'registry',
    hostDirs: [],
    async build(folder, signal, progress) {
      const source: PullSource = {
        kind: 'registry',
        reference: name,
        registry: reference.registry,
        ...(auth && { auth }),
        isInsecure,
      }
      const { config, sizeBytes } = await pullImage(source, {
        folder,
        shownAs,
        maxBytes: maxUnpackedBytes,
        progress,
        ...(proxyEnvironment && { env: proxyEnvironment }),
        ...(stallMs !== undefined && { stallMs }),
        signal,
        timeoutMs: pullTimeoutMs,
      })
      return { config, digest: reference.digest, sizeBytes }
    },
  }
}
