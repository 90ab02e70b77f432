// The image `host` on Docker: what image/host.ts makes, as an image of the daemon's, with this machine's /usr mounted over it.

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HOST_DIRS, HOST_IMAGE_CONFIG, hostImageKey, makeHostRoot } from '../../image/host.ts'
import { RuntimeError } from '../runtime.ts'
import type { Engine } from './engine.ts'
import { type DockerImage, inspectImage } from './images.ts'

const REPOSITORY = 'opensandbox/host'

/** Finds the image of the machine as it is now, or makes it. */
export async function ensureHostImage(
  engine: Engine,
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
): Promise<DockerImage> {
  const tag = createHash('sha256').update(hostImageKey()).digest('hex').slice(0, 32)
  const known = await inspectImage(engine, `${REPOSITORY}:${tag}`, signal)
  if (known) return asHost(known)
  const folder = await mkdtemp(join(tmpdir(), 'opensandbox-host-'))
  try {
    await makeHostRoot(folder, 0)
    await engine.call((abortSignal) => importFolder(engine, { folder, tag, abortSignal }), {
      signal,
      timeoutMs,
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  const made = await inspectImage(engine, `${REPOSITORY}:${tag}`, signal)
  if (!made) throw new RuntimeError('image_pull_failed', 'Image "host" was removed while it was made')
  return asHost(made)
}

function asHost({ id }: DockerImage): DockerImage {
  const { env, workdir, uid, gid } = HOST_IMAGE_CONFIG
  return { id, config: { env, workdir, uid, gid }, hostDirs: HOST_DIRS }
}

async function importFolder(
  engine: Engine,
  { folder, tag, abortSignal }: { folder: string; tag: string; abortSignal: AbortSignal },
): Promise<void> {
  const tar = spawn('tar', ['--create', '--numeric-owner', '--directory', folder, '.'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    signal: abortSignal,
  })
  const ended = new Promise<void>((done, fail) => {
    tar.once('error', fail)
    tar.once('close', (code) => (code === 0 ? done() : fail(new Error(`tar: exit code ${code}`))))
  })
  const stream = await engine.docker.importImage(tar.stdout, { repo: REPOSITORY, tag, abortSignal } as object)
  const imported = new Promise<void>((done, fail) =>
    engine.docker.modem.followProgress(stream, (error) => (error ? fail(error) : done())),
  )
  await Promise.all([ended, imported])
}
