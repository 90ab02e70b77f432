// Has the daemon pull one content by its digest, which it verifies.

import type { Readable } from 'node:stream'
import type { Platform } from '../../../../lib/api/lifecycle.ts'
import { formatSize } from '../../../image/follow-size.ts'
import { pinned } from '../../../image/reference.ts'
import type { PinnedReference } from '../../../image/resolve.ts'
import type { ImageAuth } from '../../images.ts'
import { RuntimeError } from '../../runtime.ts'
import type { Engine } from '../engine.ts'
import { pullFailure } from './ask.ts'
import { readEvents } from './events.ts'
import { PullProgress } from './progress.ts'

/** A registry that has sent nothing for so long sends nothing more. */
const STALL_MS = 60_000

export type PullOptions = {
  reference: PinnedReference
  shownAs: string
  auth?: ImageAuth
  platform?: Platform
  /** The most that may be fetched. */
  maxBytes: number
  progress: (message: string) => void
  signal: AbortSignal
  timeoutMs: number
  stallMs?: number
}

/** Pulls. Rejects with RuntimeError, or the signal's reason; the daemon gives up what it has begun when nobody listens to it. */
export async function pullByDigest(engine: Engine, options: PullOptions): Promise<void> {
  const { reference, shownAs, auth, platform, maxBytes, signal, timeoutMs, stallMs = STALL_MS } = options
  const given = new AbortController()
  const fail = (failure: 'registry_failed' | 'image_too_large', message: string) =>
    given.abort(new RuntimeError(failure, message))
  options.progress(`Pulling image "${shownAs}"`)
  const follow = async (stream: Readable) => {
    const progress = new PullProgress()
    let told = ''
    let bytes = -1
    let timer: NodeJS.Timeout | undefined
    const rearm = () => {
      clearTimeout(timer)
      timer = setTimeout(
        () =>
          fail(
            'registry_failed',
            `Cannot pull image "${shownAs}": its registry has sent nothing for ${stallMs / 1000} seconds`,
          ),
        stallMs,
      )
    }
    rearm()
    try {
      for await (const event of readEvents(stream)) {
        progress.note(event)
        // The daemon goes on talking while nothing comes.
        if (progress.bytes !== bytes || progress.isUnpacking) rearm()
        bytes = progress.bytes
        if (progress.totalBytes > maxBytes)
          fail(
            'image_too_large',
            `Image "${shownAs}" is too large: it may take at most ${formatSize(maxBytes)} (runtime.image_max_unpacked_bytes)`,
          )
        given.signal.throwIfAborted()
        const text = progress.isUnpacking
          ? `Unpacking image "${shownAs}"`
          : `Pulling image "${shownAs}"${bytes > 0 ? `: ${formatSize(bytes)}` : ''}`
        if (text !== told) options.progress(text)
        told = text
      }
    } finally {
      clearTimeout(timer)
    }
  }
  try {
    await engine.call(
      async (abortSignal) => {
        const stream = (await engine.docker.pull(pinned(reference, reference.digest), {
          abortSignal,
          ...(auth && { authconfig: auth }),
          ...(platform && { platform: `${platform.os}/${platform.arch}` }),
        })) as Readable
        await follow(stream)
      },
      { signal: AbortSignal.any([signal, given.signal]), timeoutMs },
    )
  } catch (error) {
    signal.throwIfAborted()
    given.signal.throwIfAborted()
    throw pullFailure(error, shownAs)
  }
}
