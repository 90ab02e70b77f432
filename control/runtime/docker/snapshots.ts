// Snapshots on Docker: the daemon makes an image of the container's files, which stands still meanwhile. How sandboxes are run that are
// made from it is kept here, and not in that image: an image could say anything. Nothing of what the sandbox was given is in it: its
// variables come by its boot file, the labels by which it is ours are blanked, and /etc/hosts and its like are the daemon's own.
//
//   docker-snapshots/{id}.json   written before the daemon is asked; the snapshot is there when both this and the image are

import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ImageInfo, ImageInspectInfo } from 'dockerode'
import { messageOf, systemCodeOf } from '../../../lib/errors.ts'
import { isNoSpace } from '../../image/failure.ts'
import { RuntimeError } from '../runtime.ts'
import { listSandboxIds } from '../sandbox-record.ts'
import type { RuntimeSnapshot, Snapshots } from '../snapshots.ts'
import { EngineRefusal, isMissing } from './engine.ts'
import type { DockerImage } from './images/inspect.ts'
import { removeName } from './images/remove.ts'
import { type DockerParts, recordOf } from './parts.ts'
import type { Standstill } from './standstill.ts'

/** As the contract has it (lifecycle.md 3.5). */
const REPOSITORY = 'opensandbox-snapshots'
/** The daemon goes on when it is not waited for any more, and what comes too late is removed: so it may take long. */
const COMMIT_TIMEOUT_MS = 3_500_000

type Stored = { id: string; ground: Ground; baseBytes: number }
/** How sandboxes of an image are run, whatever the image says by now. */
export type Ground = Pick<DockerImage, 'config' | 'hostDirs'>

export class DockerSnapshots implements Snapshots {
  readonly #parts: DockerParts
  readonly #standstill: Standstill
  readonly #folder: string
  readonly #making = new Set<string>()

  constructor(parts: DockerParts, standstill: Standstill) {
    this.#parts = parts
    this.#standstill = standstill
    this.#folder = join(parts.dataDir, 'docker-snapshots')
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
  }

  async create(sandboxId: string, snapshotId: string, signal: AbortSignal): Promise<RuntimeSnapshot> {
    const { engine, ownership } = this.#parts
    const record = recordOf(this.#parts, sandboxId)
    if (!record?.container || !record.complete)
      throw new RuntimeError('not_running', 'The sandbox does not run')
    const { ground } = record
    if (!ground)
      throw new RuntimeError(
        'snapshot_unsupported',
        'Cannot take a snapshot of a sandbox that an earlier version has made: make it anew',
      )
    const container = engine.docker.getContainer(record.container)
    this.#making.add(snapshotId)
    try {
      await this.#standstill.during(sandboxId, async () => {
        signal.throwIfAborted()
        const { State, Image, Config } = await engine.call((abortSignal) =>
          container.inspect({ abortSignal }),
        )
        if (State.Status !== 'running')
          throw new RuntimeError('not_running', `The sandbox is ${State.Status}`)
        const base = await engine.call((abortSignal) =>
          engine.docker.getImage(Image).inspect({ abortSignal } as object),
        )
        await this.#write({ id: snapshotId, ground, baseBytes: base.Size })
        // What is not named here would be taken over from the container.
        const blank = Object.fromEntries(Object.keys(Config.Labels ?? {}).map((name) => [name, '']))
        await engine.call(
          (abortSignal) =>
            container.commit({
              _query: { container: container.id, repo: REPOSITORY, tag: snapshotId, pause: true },
              _body: {
                Labels: {
                  ...blank,
                  ...base.Config?.Labels,
                  ...ownership.snapshotLabelsOf(snapshotId),
                },
                Env: base.Config?.Env ?? [],
                Entrypoint: base.Config?.Entrypoint ?? [''],
                Cmd: base.Config?.Cmd ?? [''],
              },
              abortSignal,
            } as object),
          { timeoutMs: COMMIT_TIMEOUT_MS },
        )
      })
      const made = await this.#find(snapshotId)
      if (!made) throw new RuntimeError('start_failed', 'The snapshot was removed while it was made')
      return made
    } catch (error) {
      // What the daemon makes of it after all is found by what is written here, and removed then.
      await removeName(engine, nameOf(snapshotId), AbortSignal.timeout(10_000)).catch((trouble) =>
        this.#parts.log.warn('what a failed snapshot left could not be removed yet', {
          snapshot: snapshotId,
          error: messageOf(trouble),
        }),
      )
      signal.throwIfAborted()
      throw asRuntimeError(error)
    } finally {
      this.#making.delete(snapshotId)
    }
  }

  /** The daemon's id of the image is a digest of all that is in it. */
  async seal(snapshotId: string): Promise<{ digest: string }> {
    const found = await this.#find(snapshotId)
    if (!found?.digest) throw new RuntimeError('not_found', `There is no snapshot "${snapshotId}"`)
    return { digest: found.digest }
  }

  async remove(snapshotId: string, signal: AbortSignal): Promise<void> {
    // Of another installation there may be one of any name.
    if (!this.#read(snapshotId)) return
    if (!(await removeName(this.#parts.engine, nameOf(snapshotId), signal)))
      throw new RuntimeError('in_use', 'There are containers that were made from the snapshot')
    await rm(join(this.#folder, `${snapshotId}.json`), { force: true })
  }

  async list(signal: AbortSignal): Promise<RuntimeSnapshot[]> {
    const { engine, dataDir } = this.#parts
    await this.#standstill.recover(await listSandboxIds(dataDir), signal)
    await this.#removeNameless(signal)
    const images = await engine.call(
      (abortSignal) =>
        engine.docker.listImages({ filters: { reference: [REPOSITORY] }, abortSignal } as object),
      { signal },
    )
    const byTag = new Map(images.flatMap((image) => tagsOf(image).map((tag) => [tag, image] as const)))
    return readdirSync(this.#folder).flatMap((name) => {
      const stored = name.endsWith('.json') ? this.#read(name.slice(0, -'.json'.length)) : undefined
      const image = stored && byTag.get(nameOf(stored.id))
      return stored && image ? [describe(stored, image)] : []
    })
  }

  /** A daemon that was killed may have made an image and not yet given it its name. */
  async #removeNameless(signal: AbortSignal): Promise<void> {
    const { engine, ownership } = this.#parts
    const filters = { dangling: ['true'], label: [ownership.snapshotFilter] }
    const images = await engine.call(
      (abortSignal) => engine.docker.listImages({ filters, abortSignal } as object),
      { signal },
    )
    for (const { Id, Labels } of images) {
      const id = ownership.snapshotOf(Labels ?? {})
      // A container that somebody else has made of it keeps it.
      if (id !== undefined && !this.#making.has(id)) await removeName(engine, Id, signal)
    }
  }

  /** The image of a snapshot, as sandboxes are made from it. Rejects with RuntimeError when there is none. */
  async imageOf(snapshotId: string, signal: AbortSignal): Promise<DockerImage> {
    const stored = this.#read(snapshotId)
    const found = stored && (await this.#inspect(snapshotId, signal))
    if (!stored || !found) throw new RuntimeError('start_failed', 'The snapshot is not there any more')
    const { Id: id, Config } = found
    return { id, ...stored.ground, volumes: Object.keys(Config?.Volumes ?? {}) }
  }

  async #find(id: string): Promise<RuntimeSnapshot | undefined> {
    const stored = this.#read(id)
    const found = stored && (await this.#inspect(id))
    return stored && found && describe(stored, found)
  }

  async #inspect(id: string, signal?: AbortSignal): Promise<ImageInspectInfo | undefined> {
    const { engine } = this.#parts
    try {
      return await engine.call(
        (abortSignal) => engine.docker.getImage(nameOf(id)).inspect({ abortSignal } as object),
        signal ? { signal } : {},
      )
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  #read(id: string): Stored | undefined {
    try {
      return JSON.parse(readFileSync(join(this.#folder, `${id}.json`), 'utf8')) as Stored
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined
      throw error
    }
  }

  async #write(stored: Stored): Promise<void> {
    const path = join(this.#folder, `${stored.id}.json`)
    await writeFile(`${path}.new`, JSON.stringify(stored), { mode: 0o600, flush: true })
    await rename(`${path}.new`, path)
  }
}

function nameOf(id: string): string {
  return `${REPOSITORY}:${id}`
}

function tagsOf({ RepoTags }: ImageInfo): string[] {
  return RepoTags ?? []
}

function describe({ id, baseBytes }: Stored, image: { Id: string; Size: number }): RuntimeSnapshot {
  return { id, sizeBytes: Math.max(image.Size - baseBytes, 0), digest: image.Id }
}

function asRuntimeError(error: unknown): unknown {
  if (error instanceof RuntimeError) return error
  if (isNoSpace(error))
    return new RuntimeError('no_space', 'Cannot take the snapshot: no space left on the disk', {
      cause: error,
    })
  if (isMissing(error) || (error instanceof EngineRefusal && error.status === 409))
    return new RuntimeError('not_running', 'The sandbox ended while its snapshot was taken', { cause: error })
  return error
}
