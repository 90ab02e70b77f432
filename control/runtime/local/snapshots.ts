// Snapshots of the local runtime. A sandbox's own layer, the upper one of its overlay, is copied to a layer of its own; a sandbox
// that is made from the snapshot has that layer, those that were below it, and the image below all of them. So layers are shared:
// one goes with the last snapshot and the last sandbox that lies upon it. Nothing of what the sandbox was given lies in its layer
// but three files in /etc, which are left out.
//
//   snapshots/{id}.json   what a snapshot consists of; it is there when all of it is
//   layers/{id}/root      the layer that was made with the snapshot

import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, readdir, realpath, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, systemCodeOf } from '../../../lib/errors.ts'
import { ID_MAP, type Image } from '../../image/image.ts'
import { removeTree } from '../../remove-tree.ts'
import { RuntimeError } from '../runtime.ts'
import { listSandboxIds, pathsOf, readRecord, type SandboxRecord } from '../sandbox-record.ts'
import type { RuntimeSnapshot, Snapshots } from '../snapshots.ts'
import { cgroupPathOf } from './cgroup.ts'
import { type Held, type Holds, mappedFiles } from './hold.ts'
import { LayerFailure, LayerThread } from './layer/layer-thread.ts'
import type { Parts } from './parts.ts'

/** Written anew for each sandbox. */
const OWN_FILES = ['etc/hosts', 'etc/hostname', 'etc/resolv.conf']
/** The kernel takes the names of all layers in one page. What lies upon more becomes one layer. */
const MOST_LAYERS = 32
const MOUNT_OPTIONS_BYTES = 4096
/** Of the page, for what is no snapshot's layer. */
const OTHER_LAYERS_BYTES = 1024
/** When the first pass took longer, much may have been written meanwhile: a second one keeps the moment short. */
const SECOND_PASS_MS = 200
/** Runtimes whose sandboxes keep their files where nobody else reads them. */
const CLOSED_RUNTIMES = /(^|\/)(runsc|kata)[^/]*$/

type Stored = RuntimeSnapshot & {
  /** Its own layer, and those below it, from the top. */
  layers: string[]
  base: Image
  /** Names the run of the machine in which it was written: until it has a digest, a power cut may take it. */
  boot: string
}

export class LocalSnapshots implements Snapshots {
  readonly unsupported?: string
  readonly #parts: Parts
  readonly #holds: Holds
  readonly #folders: { snapshots: string; layers: string }
  readonly #boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  /** What is being taken, by sandbox. */
  readonly #taking = new Map<string, Set<{ gone: AbortController; done: Promise<unknown> }>>()
  /** Layers that are being made. */
  readonly #making = new Set<string>()
  #collecting: Promise<void> = Promise.resolve()

  constructor(parts: Parts, holds: Holds) {
    this.#parts = parts
    this.#holds = holds
    const { dataDir, config } = parts
    this.#folders = { snapshots: join(dataDir, 'snapshots'), layers: join(dataDir, 'layers') }
    const { ociRuntime } = config.runtime
    if (CLOSED_RUNTIMES.test(ociRuntime))
      this.unsupported = `no snapshots can be taken of sandboxes of "${ociRuntime}", which keeps their files to itself`
  }

  /** Makes the folders, and clears what an earlier process has left. */
  async open(): Promise<void> {
    const { dataDir, instance } = this.#parts
    for (const path of Object.values(this.#folders)) await mkdir(path, { recursive: true, mode: 0o700 })
    for (const id of await listSandboxIds(dataDir))
      await this.#holds.recover(this.#heldOf(id, pathsOf(id, { dataDir, runDir: instance.runDir }).folder))
    for (const name of await readdir(this.#folders.snapshots))
      if (!this.#isWhole(name)) await rm(join(this.#folders.snapshots, name), { force: true })
    await this.collect()
  }

  async create(sandboxId: string, snapshotId: string, signal: AbortSignal): Promise<RuntimeSnapshot> {
    const gone = new AbortController()
    const done = this.#take(sandboxId, snapshotId, AbortSignal.any([signal, gone.signal]))
    const entry = { gone, done: done.catch(() => {}) }
    const all = this.#taking.get(sandboxId) ?? new Set()
    this.#taking.set(sandboxId, all.add(entry))
    try {
      return await done
    } catch (error) {
      signal.throwIfAborted()
      throw gone.signal.aborted
        ? new RuntimeError('not_running', 'The sandbox was removed while its snapshot was taken')
        : asRuntimeError(error)
    } finally {
      all.delete(entry)
      if (all.size === 0) this.#taking.delete(sandboxId)
    }
  }

  /** Ends what is being taken of a sandbox that is removed. Resolves once nothing reads its files any more. */
  async giveUp(sandboxId: string): Promise<void> {
    const all = [...(this.#taking.get(sandboxId) ?? [])]
    for (const { gone } of all) gone.abort(new Error('The sandbox is removed'))
    await Promise.all(all.map(({ done }) => done))
  }

  async seal(snapshotId: string, signal: AbortSignal): Promise<{ digest: string }> {
    const stored = this.#read(snapshotId)
    if (!stored) throw new RuntimeError('not_found', `There is no snapshot "${snapshotId}"`)
    const digest = await LayerThread.digestOf(this.#layerOf(snapshotId), ID_MAP.hostId, signal)
    // It may have been removed meanwhile.
    if (this.#read(snapshotId)) await this.#write({ ...stored, digest })
    return { digest }
  }

  async remove(snapshotId: string): Promise<void> {
    await rm(this.#pathOf(snapshotId), { force: true })
    await this.collect()
  }

  async list(): Promise<RuntimeSnapshot[]> {
    return this.#all().map(toldOf)
  }

  /** What a sandbox is made of that is made from a snapshot. Throws RuntimeError when there is none. */
  restore(snapshotId: string): { base: Image; layers: string[] } {
    const stored = this.#read(snapshotId)
    if (!stored) throw new RuntimeError('start_failed', 'The snapshot is not there any more')
    return { base: stored.base, layers: stored.layers }
  }

  /** Where layers lie, for the overlay. */
  pathsOf(layers: readonly string[]): string[] {
    return layers.map((id) => this.#layerOf(id))
  }

  /** The images that snapshots need. */
  imagesInUse(): string[] {
    return this.#all().map(({ base }) => base.id)
  }

  /** Removes layers that neither a snapshot nor a sandbox needs. */
  async collect(): Promise<void> {
    const turn = this.#collecting.then(async () => {
      const needed = new Set([...this.#making, ...this.#all().flatMap(({ layers }) => layers)])
      for (const { layers = [] } of await this.#records()) for (const id of layers) needed.add(id)
      for (const id of await readdir(this.#folders.layers))
        if (!needed.has(id))
          await removeTree(join(this.#folders.layers, id), undefined, this.#parts.programs.run)
    })
    this.#collecting = turn.catch((error) =>
      this.#parts.log.warn('layers that nobody needs could not be removed yet', { error: messageOf(error) }),
    )
    await turn
  }

  async #take(sandboxId: string, snapshotId: string, signal: AbortSignal): Promise<RuntimeSnapshot> {
    const { dataDir, instance, log } = this.#parts
    const { folder, record: path } = pathsOf(sandboxId, { dataDir, runDir: instance.runDir })
    const { base, layers = [] } = requireWhole(readRecord(path))
    const most = Math.min(
      MOST_LAYERS,
      Math.floor((MOUNT_OPTIONS_BYTES - OTHER_LAYERS_BYTES) / (this.#layerOf(snapshotId).length + 1)),
    )
    // What the kernel could not mount any more becomes one layer again.
    const merged = layers.length >= most ? layers : []
    this.#making.add(snapshotId)
    const began = performance.now()
    try {
      const layer = this.#layerOf(snapshotId)
      await mkdir(layer, { recursive: true, mode: 0o700 })
      const copied = await this.#copy(this.#heldOf(sandboxId, folder), layer, merged, signal)
      const stored: Stored = {
        id: snapshotId,
        sizeBytes: copied.sizeBytes,
        layers: merged.length > 0 ? [snapshotId] : [snapshotId, ...layers],
        ...(merged.length > 0 && { isWhole: true }),
        base,
        boot: this.#boot,
      }
      await this.#write(stored)
      log.debug('files of a sandbox kept', {
        sandbox: sandboxId,
        snapshot: snapshotId,
        ms: Math.round(performance.now() - began),
        heldMs: Math.round(copied.heldMs),
        merged: merged.length,
      })
      return toldOf(stored)
    } catch (error) {
      this.#making.delete(snapshotId)
      await this.collect().catch(() => {}) // told there, and tried again with the next one
      throw error
    } finally {
      this.#making.delete(snapshotId)
    }
  }

  async #copy(
    held: Held,
    layer: string,
    merged: readonly string[],
    signal: AbortSignal,
  ): Promise<{ sizeBytes: number; heldMs: number }> {
    const { cgroups } = this.#parts
    // The upper layer may lie on a disk of the sandbox's own, to which a link leads. Of one that is gone, the copy tells.
    const upper = join(held.folder, 'upper')
    const from = await realpath(upper).catch(() => upper)
    // Asked before the first pass and in the last one: what was written through memory in between is written by one of them.
    const early = await mappedFiles(held.cgroup, cgroups)
    await using thread = await LayerThread.openCopy({ from, to: layer, leaveOut: OWN_FILES }, signal)
    const began = performance.now()
    await thread.pass({ isLive: true, forced: [] })
    if (performance.now() - began > SECOND_PASS_MS) await thread.pass({ isLive: true, forced: [] })
    let heldMs = 0
    let { sizeBytes } = await this.#holds.during(
      held,
      async () => {
        const since = performance.now()
        const forced = [...new Set([...early, ...(await mappedFiles(held.cgroup, cgroups))])]
        const passed = await thread.pass({ isLive: false, forced })
        heldMs = performance.now() - since
        return passed
      },
      signal,
    )
    // They do not change, so nothing stands still for them.
    for (const below of this.pathsOf(merged)) sizeBytes += (await thread.addBelow(below)).sizeBytes
    return { sizeBytes, heldMs }
  }

  #heldOf(id: string, folder: string): Held {
    return { id, folder, cgroup: cgroupPathOf(this.#parts.instance.key, id) }
  }

  #layerOf(id: string): string {
    return join(this.#folders.layers, id, 'root')
  }

  #pathOf(id: string): string {
    return join(this.#folders.snapshots, `${id}.json`)
  }

  #isWhole(name: string): boolean {
    if (!name.endsWith('.json')) return false
    const stored = this.#read(name.slice(0, -'.json'.length))
    return stored !== undefined && (stored.digest !== undefined || stored.boot === this.#boot)
  }

  #all(): Stored[] {
    return readdirSync(this.#folders.snapshots).flatMap((name) =>
      name.endsWith('.json') ? (this.#read(name.slice(0, -'.json'.length)) ?? []) : [],
    )
  }

  #read(id: string): Stored | undefined {
    try {
      return JSON.parse(readFileSync(this.#pathOf(id), 'utf8')) as Stored
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined
      throw error
    }
  }

  async #write(stored: Stored): Promise<void> {
    const path = this.#pathOf(stored.id)
    await writeFile(`${path}.new`, JSON.stringify(stored), { mode: 0o600, flush: true })
    await rename(`${path}.new`, path)
  }

  async #records(): Promise<SandboxRecord[]> {
    const { dataDir, instance } = this.#parts
    const ids = await listSandboxIds(dataDir)
    return ids.flatMap((id) => readRecord(pathsOf(id, { dataDir, runDir: instance.runDir }).record) ?? [])
  }
}

function toldOf({ id, sizeBytes, digest, isWhole }: Stored): RuntimeSnapshot {
  return { id, sizeBytes, ...(digest !== undefined && { digest }), ...(isWhole && { isWhole }) }
}

function requireWhole(record: SandboxRecord | undefined): { base: Image; layers?: string[] } {
  if (!record?.complete) throw new RuntimeError('not_running', 'The sandbox does not run')
  const { base, layers } = record
  if (!base)
    throw new RuntimeError(
      'snapshot_unsupported',
      'Cannot take a snapshot of a sandbox that an earlier version has made: make it anew',
    )
  return { base, ...(layers && { layers }) }
}

function asRuntimeError(error: unknown): unknown {
  if (error instanceof RuntimeError) return error
  const code = systemCodeOf(error)
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new RuntimeError('no_space', 'Cannot take the snapshot: no space left on the disk', {
      cause: error,
    })
  if (error instanceof LayerFailure && error.isRefused)
    return new RuntimeError('snapshot_unsupported', `Cannot take a snapshot of the sandbox: ${error.message}`)
  return error
}
