// Archives of the configuration as images of the daemon, under a name of ours: what names an archive itself brings are not taken over,
// as they may be those of others.

import { createReadStream } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { archiveKindOf } from '../../../image/archive.ts'
import { imageFailure } from '../../../image/failure.ts'
import { toolOutput } from '../../../image/tool.ts'
import { removeTree } from '../../../remove-tree.ts'
import { RuntimeError } from '../../runtime.ts'
import { type Engine, EngineRefusal } from '../engine.ts'
import { lastEvent } from './events.ts'
import type { OurName } from './names.ts'

export type ArchiveOptions = {
  alias: string
  path: string
  name: OurName
  /** Where what is made on the way lies. */
  folder: string
  signal: AbortSignal
  timeoutMs: number
}

/** Brings an archive into the daemon. Rejects with RuntimeError, or the signal's reason. */
export async function bringArchive(engine: Engine, options: ArchiveOptions): Promise<void> {
  const { alias, path, name, signal, timeoutMs } = options
  const folder = await mkdtemp(join(options.folder, '.new-'))
  try {
    const kind = await archiveKindOf(path, signal)
    if (kind === 'rootfs') {
      const from = { repo: name.repository, tag: name.tag }
      await bring(engine, { signal, timeoutMs }, (abortSignal) =>
        engine.docker.importImage(createReadStream(path), { ...from, abortSignal } as object),
      )
      return
    }
    const transport = kind === 'oci-layout' ? 'oci' : kind
    const named = join(folder, 'image.tar')
    await toolOutput(
      'skopeo',
      [
        'copy',
        '--quiet',
        '--insecure-policy',
        `${transport}:${path}`,
        `docker-archive:${named}:${name.full}`,
      ],
      { signal, timeoutMs, env: { HOME: folder, TMPDIR: folder } },
    )
    await bring(engine, { signal, timeoutMs }, (abortSignal) =>
      engine.docker.loadImage(createReadStream(named), { abortSignal } as object),
    )
  } catch (error) {
    signal.throwIfAborted()
    const what = `Cannot make image "${alias}" of "${path}"`
    if (error instanceof EngineRefusal)
      throw new RuntimeError(
        /no space left on device/i.test(error.message) ? 'no_space' : 'image_pull_failed',
        `${what}: ${error.message}`,
        { cause: error },
      )
    throw imageFailure(error, 'image_pull_failed', what)
  } finally {
    await removeTree(folder)
  }
}

async function bring(
  engine: Engine,
  options: { signal: AbortSignal; timeoutMs: number },
  begin: (abortSignal: AbortSignal) => Promise<NodeJS.ReadableStream>,
): Promise<void> {
  await engine.call(
    async (abortSignal) => void (await lastEvent((await begin(abortSignal)) as Readable)),
    options,
  )
}
