// The image `host` on Docker: what image/host.ts makes, as an image of the daemon's, with this machine's /usr mounted over it.

import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { HOST_DIRS, HOST_IMAGE_CONFIG, makeHostRoot } from '../../image/host.ts'
import type { Engine } from './engine.ts'
import { lastEvent } from './images/events.ts'
import type { DockerImage } from './images/inspect.ts'
import type { OurName } from './images/names.ts'

/** Makes the image of the machine as it is now. */
export async function makeHostImage(
  engine: Engine,
  { name, timeoutMs, signal }: { name: OurName; timeoutMs: number; signal: AbortSignal },
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'opensandbox-host-'))
  try {
    await makeHostRoot(folder, 0)
    await engine.call((abortSignal) => importFolder(engine, { folder, name, abortSignal }), {
      signal,
      timeoutMs,
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** What the daemon has of it, with what it needs to run. */
export function asHostImage({ id }: DockerImage): DockerImage {
  const { env, workdir, uid, gid } = HOST_IMAGE_CONFIG
  return { id, config: { env, workdir, uid, gid }, hostDirs: HOST_DIRS }
}

async function importFolder(
  engine: Engine,
  { folder, name, abortSignal }: { folder: string; name: OurName; abortSignal: AbortSignal },
): Promise<void> {
  const tar = spawn('tar', ['--create', '--numeric-owner', '--directory', folder, '.'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    signal: abortSignal,
  })
  const ended = new Promise<void>((done, fail) => {
    tar.once('error', fail)
    tar.once('close', (code) => (code === 0 ? done() : fail(new Error(`tar: exit code ${code}`))))
  })
  const to = { repo: name.repository, tag: name.tag, abortSignal }
  const stream = await engine.docker.importImage(tar.stdout, to as object)
  await Promise.all([ended, lastEvent(stream as Readable)])
}
