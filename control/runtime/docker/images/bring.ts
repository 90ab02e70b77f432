// Brings what a request wants into the daemon, under a name of ours. Each source knows the name of its content before that is there.

import { stat } from 'node:fs/promises'
import type { Platform } from '../../../../lib/api/lifecycle.ts'
import { systemCodeOf } from '../../../../lib/errors.ts'
import { formatSize } from '../../../image/follow-size.ts'
import { hostImageKey } from '../../../image/host.ts'
import { requirePlatform } from '../../../image/platform.ts'
import { pinned } from '../../../image/reference.ts'
import type { PinnedReference, Target } from '../../../image/resolve.ts'
import type { Progress } from '../../../image/shared-work.ts'
import { contentId } from '../../../image/sources.ts'
import type { ImageAuth } from '../../images.ts'
import { RuntimeError } from '../../runtime.ts'
import { makeHostImage } from '../host-image.ts'
import { bringArchive } from './archive.ts'
import type { DaemonContents } from './contents.ts'
import { inspectImage } from './inspect.ts'
import type { NameKind } from './names.ts'
import type { Pending } from './pending.ts'
import { pullByDigest } from './pull.ts'
import { removeName } from './remove.ts'
import type { Unpacking } from './unpacking.ts'

export type Source = {
  /** By what the content is found. */
  id: string
  /** Under which kinds of names it may lie. */
  kinds: readonly NameKind[]
  shownAs: string
  bring: (signal: AbortSignal, progress: Progress) => Promise<void>
}

export type BringOptions = {
  contents: DaemonContents
  pending: Pending
  /** Where what is made on the way lies. */
  folder: string
  pullTimeoutMs: number
  stallMs?: number
  maxUnpackedBytes: number
  /** Present where it can be seen how much the daemon unpacks. */
  unpacking?: Unpacking
}

export const FROM_REGISTRY: readonly NameKind[] = ['pulled', 'found']

/** The content of what is no registry's: the machine as it is now, a file as it is now. */
export async function localContentId(
  alias: string,
  target: Exclude<Target, { kind: 'registry' }>,
): Promise<string> {
  if (target.kind === 'host') return contentId(hostImageKey())
  const { path } = target
  const found = await stat(path).catch((error) => {
    throw new RuntimeError(
      'image_not_found',
      `Image "${alias}" is "${path}" by the configuration, which cannot be read (${systemCodeOf(error)})`,
      { cause: error },
    )
  })
  return contentId(`archive ${path} ${found.size} ${found.mtimeMs}`)
}

export async function localSource(
  alias: string,
  target: Exclude<Target, { kind: 'registry' }>,
  { contents, folder, pullTimeoutMs: timeoutMs }: BringOptions,
): Promise<Source> {
  const { kind } = target
  const id = await localContentId(alias, target)
  const name = contents.names.of(id, kind)
  return {
    id,
    kinds: [kind],
    shownAs: alias,
    async bring(signal, progress) {
      if (target.kind === 'host') return await makeHostImage(contents.engine, { name, timeoutMs, signal })
      progress(`Reading image "${alias}"`)
      await bringArchive(contents.engine, { alias, path: target.path, name, folder, signal, timeoutMs })
    },
  }
}

/** What a registry has under a digest; another repository with the same digest is another content (image/sources.ts). */
export function registrySource(
  reference: PinnedReference,
  request: { shownAs: string; auth?: ImageAuth; platform?: Platform },
  options: BringOptions,
): Source {
  const {
    contents,
    pending,
    pullTimeoutMs: timeoutMs,
    stallMs,
    maxUnpackedBytes: maxBytes,
    unpacking,
  } = options
  const { engine } = contents
  const { shownAs } = request
  const name = pinned(reference, reference.digest)
  const id = contentId(`registry ${name}`)
  const takeBack = () => removeName(engine, name, AbortSignal.timeout(timeoutMs))
  return {
    id,
    kinds: FROM_REGISTRY,
    shownAs,
    async bring(signal, progress) {
      // Somebody else has pulled it into this daemon: it is theirs, too.
      if (await inspectImage(engine, name, signal)) return await contents.name(name, id, 'found')
      await pending.begin(id, name)
      try {
        const pull = (bound: AbortSignal) =>
          pullByDigest(engine, {
            reference,
            ...request,
            maxBytes,
            progress,
            signal: bound,
            timeoutMs,
            ...(stallMs !== undefined && { stallMs }),
          })
        await (unpacking ? unpacking.within({ maxBytes, shownAs }, signal, pull) : pull(signal))
        const pulled = await inspectImage(engine, name, signal)
        if (!pulled)
          throw new RuntimeError('image_pull_failed', `Image "${shownAs}" was removed while it was pulled`)
        requirePlatform(pulled, shownAs, request.platform)
        if (pulled.sizeBytes > maxBytes)
          throw new RuntimeError(
            'image_too_large',
            `Image "${shownAs}" is too large: it takes ${formatSize(pulled.sizeBytes)} and may take at most ${formatSize(maxBytes)} (runtime.image_max_unpacked_bytes)`,
          )
        await contents.name(name, id, 'pulled')
      } catch (error) {
        await takeBack()
        throw error
      } finally {
        await pending.end(id)
      }
    },
  }
}
