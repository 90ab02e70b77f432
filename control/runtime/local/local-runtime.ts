// Sandboxes on this machine by an OCI runtime, without a daemon. Every step of a create (make-sandbox.ts) can be undone
// by `remove`, which looks at what is there and not at what should be; so an interrupted create, a crash and an ordinary delete all
// end in the same way.

import { existsSync } from 'node:fs'
import { rmdir } from 'node:fs/promises'
import { availableParallelism, totalmem } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { messageOf, systemCodeOf } from '../../../lib/errors.ts'
import { isNoSpace } from '../../image/failure.ts'
import type { Image } from '../../image/image.ts'
import { removeTree } from '../../remove-tree.ts'
import type { AddressPool } from '../addresses.ts'
import { readEntrypointLog } from '../entrypoint-log.ts'
import { readExit } from '../exit-file.ts'
import type { Images } from '../images.ts'
import { disconnectSandbox } from '../network.ts'
import { type PhaseWatch, watchPhases } from '../phase-watch.ts'
import { Places } from '../places.ts'
import {
  type Abilities,
  type CreateWatch,
  type Runtime,
  RuntimeError,
  type RuntimeEvent,
  type RuntimeSandbox,
  type RuntimeSpec,
} from '../runtime.ts'
import {
  interfaceOf,
  isRunning,
  listSandboxIds,
  readRecord,
  type SandboxPaths,
  type SandboxRecord,
} from '../sandbox-record.ts'
import type { Snapshots } from '../snapshots.ts'
import { unstageMounts } from '../staged-mounts.ts'
import type { Volumes } from '../volumes.ts'
import { cgroupParentOf, isFrozen, readOomKills, removeCgroup } from './cgroup.ts'
import { diskAbility, diskPathsOf, removeDisk } from './disk.ts'
import { freeze, reclaimMemory, thaw } from './freezer.ts'
import type { Holds } from './hold.ts'
import { makeSandbox } from './make-sandbox.ts'
import { type Parts, sandboxCgroup, sandboxPaths } from './parts.ts'
import { ROOT_OWNER, unmountRoot } from './root.ts'
import type { LocalSnapshots } from './snapshots.ts'
import { createLocalVolumes } from './volumes.ts'

const REMOVE_TIMEOUT_MS = 60_000
/** How often the first processes of sandboxes are looked at. */
const WATCH_EVERY_MS = 250
/** What execd needs beyond the grace of the entrypoint to end by itself. */
const EXTRA_GRACE_MS = 1500

export class LocalRuntime implements Runtime {
  readonly name = 'local'
  readonly rootOwner = ROOT_OWNER
  readonly abilities: Abilities
  readonly volumes: Volumes
  readonly #parts: Parts
  readonly #snapshots: LocalSnapshots
  readonly #holds: Holds
  /**
   * Each create keeps one processor busy, so that more at once are no sooner ready, and everything else waits for them: with 20 at once on 2
   * processors twice as often as with one more than there are processors.
   */
  readonly #places = new Places(availableParallelism() + 1)

  constructor(parts: Parts, { snapshots, holds }: { snapshots: LocalSnapshots; holds: Holds }) {
    this.#parts = parts
    this.#snapshots = snapshots
    this.#holds = holds
    this.abilities = {
      cpus: availableParallelism(),
      memoryBytes: totalmem(),
      disk: diskAbility(parts.dataDir),
      gpus: 'sandboxes of the local runtime get no GPUs; those of Docker can',
    }
    this.volumes = createLocalVolumes({ ...parts, owner: ROOT_OWNER, run: parts.programs.run })
  }

  get images(): Images {
    return this.#parts.images
  }

  get snapshots(): Snapshots {
    return this.#snapshots
  }

  async create(spec: RuntimeSpec, signal: AbortSignal, watch: CreateWatch = {}): Promise<RuntimeSandbox> {
    let leave = () => {}
    const phases = watchPhases({
      phaseDone: (phase) => {
        // execd's start, and hooks that may take long, need no place.
        if (phase === 'network') leave()
        watch.phaseDone?.(phase)
      },
    })
    // Held until the record, or nothing any more, needs it.
    using ground = await this.#groundOf(spec, signal, watch)
    leave = await this.#places.take(spec.tenant ?? '', signal)
    phases.mark('image')
    try {
      return await this.#make(spec, ground, phases, signal)
    } finally {
      leave()
    }
  }

  /** What a sandbox is made upon. A snapshot keeps its image and its layers itself, and its row keeps the snapshot. */
  async #groundOf(
    { image, snapshotId }: RuntimeSpec,
    signal: AbortSignal,
    { progress }: CreateWatch,
  ): Promise<Disposable & { image: Image; layers: string[] }> {
    if (snapshotId !== undefined) {
      const { base, layers } = this.#snapshots.restore(snapshotId)
      return { image: base, layers, [Symbol.dispose]: () => {} }
    }
    const lease = await this.#parts.images.lease(image, signal, progress)
    return { image: lease.image, layers: [], [Symbol.dispose]: () => lease[Symbol.dispose]() }
  }

  async #make(
    spec: RuntimeSpec,
    { image, layers }: { image: Image; layers: string[] },
    phases: PhaseWatch,
    signal: AbortSignal,
  ): Promise<RuntimeSandbox> {
    const { addresses, instance, log } = this.#parts
    const record: SandboxRecord = {
      id: spec.id,
      address: takeAddress(addresses),
      interface: interfaceOf(spec.id, instance.interfacePrefix),
      image: image.id,
      base: image,
      ...(layers.length > 0 && { layers }),
      complete: false,
    }
    try {
      await makeSandbox(
        this.#parts,
        { spec, image, layers: this.#snapshots.pathsOf(layers), record, watch: phases },
        signal,
      )
    } catch (error) {
      const gone = AbortSignal.timeout(REMOVE_TIMEOUT_MS)
      await this.#clear(spec.id, record, gone).catch((trouble) =>
        log.error('what a failed create left could not be removed yet', {
          sandbox: spec.id,
          error: messageOf(trouble),
        }),
      )
      signal.throwIfAborted()
      throw asRuntimeError(error)
    }
    const { digest } = image
    return {
      id: spec.id,
      state: 'running',
      address: record.address,
      ...(digest !== undefined && { imageDigest: digest }),
    }
  }

  async pause(id: string, signal: AbortSignal): Promise<void> {
    const { oci, cgroups } = this.#parts
    await this.#holds.apart(id, async () => {
      const { state } = this.#mustFind(id)
      if (state !== 'running') throw new RuntimeError('not_running', `Sandbox "${id}" is ${state}`)
      if (!oci.pausesByFreezer) return await oci.pause(id, signal)
      try {
        await freeze(this.#cgroup(id), cgroups, signal)
      } catch (error) {
        await thaw(this.#cgroup(id), cgroups)
        throw error
      }
    })
  }

  async resume(id: string, signal: AbortSignal): Promise<void> {
    const { oci, cgroups } = this.#parts
    const { state } = this.#mustFind(id)
    if (state !== 'paused') throw new RuntimeError('not_paused', `Sandbox "${id}" is ${state}`)
    if (oci.pausesByFreezer) await thaw(this.#cgroup(id), cgroups)
    else await oci.resume(id, signal)
  }

  async reclaim(id: string): Promise<number | undefined> {
    return await reclaimMemory(this.#cgroup(id), this.#parts.cgroups)
  }

  async remove(id: string, { graceMs }: { graceMs: number }, signal: AbortSignal): Promise<void> {
    await this.#snapshots.giveUp(id)
    const record = readRecord(this.#paths(id).record)
    if (record?.complete && graceMs > 0) await this.#endGently(record, graceMs, signal)
    await this.#clear(id, record, signal)
  }

  async #endGently(record: SandboxRecord, graceMs: number, signal: AbortSignal): Promise<void> {
    if (!record.init || !isRunning(record)) return
    // A frozen process takes no signal.
    if (isFrozen(this.#cgroup(record.id), this.#parts.cgroups))
      await this.#parts.oci.resume(record.id, signal)
    try {
      process.kill(record.init.pid, 'SIGTERM')
    } catch (error) {
      if (systemCodeOf(error) !== 'ESRCH') throw error // it has ended by itself meanwhile
    }
    const deadline = performance.now() + graceMs + EXTRA_GRACE_MS
    while (isRunning(record) && performance.now() < deadline) await delay(10, undefined, { signal })
  }

  /** Removes whatever there is of a sandbox, in the reverse order of its making. */
  async #clear(id: string, record: SandboxRecord | undefined, signal: AbortSignal): Promise<void> {
    const { oci, egress, addresses, cgroups, instance, programs } = this.#parts
    const { run } = programs
    const paths = this.#paths(id)
    if (existsSync(join(instance.runDir, 'runc', id)) || record?.init) {
      if (record?.init && isRunning(record) && isFrozen(this.#cgroup(id), cgroups))
        await oci.resume(id, signal)
      await oci.delete(id, signal)
    }
    await disconnectSandbox(record?.interface ?? interfaceOf(id, instance.interfacePrefix), run, signal)
    // Only once nothing of it can send any more.
    await egress.unregister(id, signal)
    await unmountRoot(paths.root, run, signal)
    await unstageMounts(paths.mounts, run, signal)
    await removeCgroup(this.#cgroup(id), cgroups)
    await removeDisk(diskPathsOf(paths), run, signal)
    await removeTree(paths.folder, signal, run)
    if (record) addresses.release(record.address)
    if (record?.layers) await this.#snapshots.collect()
  }

  async inspect(id: string, signal: AbortSignal): Promise<RuntimeSandbox | undefined> {
    return this.#find(id) ?? (await this.#listRegistered(signal)).find((sandbox) => sandbox.id === id)
  }

  async logs(id: string, { maxBytes }: { maxBytes: number }): Promise<Uint8Array | undefined> {
    return readEntrypointLog(this.#paths(id).exchange, maxBytes)
  }

  async list(signal: AbortSignal): Promise<RuntimeSandbox[]> {
    const ids = await listSandboxIds(this.#parts.dataDir)
    const known = new Set(ids)
    const registered = (await this.#listRegistered(signal)).filter(({ id }) => !known.has(id))
    return [...ids.flatMap((id) => this.#find(id) ?? []), ...registered]
  }

  /** What egress knows. Of a sandbox whose directory somebody has removed, this alone is left. */
  async #listRegistered(signal: AbortSignal): Promise<RuntimeSandbox[]> {
    const registered = await this.#parts.egress.list(signal)
    return registered.map(({ id }) => ({ id, state: 'incomplete' }))
  }

  async *watch(signal: AbortSignal): AsyncGenerator<RuntimeEvent> {
    const { dataDir, log } = this.#parts
    const told = new Set<string>()
    while (!signal.aborted) {
      const ids = await listSandboxIds(dataDir)
      for (const id of ids) {
        if (told.has(id)) continue
        const sandbox = this.#find(id)
        if (sandbox?.state !== 'exited') continue
        told.add(id)
        log.debug('sandbox ended', { sandbox: id, exitCode: sandbox.exitCode })
        yield { type: 'exited', sandbox }
      }
      for (const id of told) if (!ids.includes(id)) told.delete(id)
      // The end of the waiting is the end of the loop.
      await delay(WATCH_EVERY_MS, undefined, { signal }).catch(() => {})
    }
  }

  async close(): Promise<void> {
    const { dataDir, instance, cgroups, programs, images } = this.#parts
    await images.close()
    await programs[Symbol.asyncDispose]()
    if ((await listSandboxIds(dataDir)).length > 0) return
    for (const name of ['mounts', 'roots', 'runc']) await rmdir(join(instance.runDir, name))
    await removeCgroup(cgroupParentOf(instance.key), cgroups)
  }

  #mustFind(id: string): RuntimeSandbox {
    const found = this.#find(id)
    if (!found) throw new RuntimeError('not_found', `There is no sandbox "${id}"`)
    return found
  }

  #find(id: string): RuntimeSandbox | undefined {
    const paths = this.#paths(id)
    if (!existsSync(paths.folder)) return undefined
    const record = readRecord(paths.record)
    if (!record?.complete) return { id, state: 'incomplete' }
    const { address } = record
    if (isRunning(record)) {
      const paused = isFrozen(this.#cgroup(id), this.#parts.cgroups) && !this.#holds.isHeld(id)
      return { id, state: paused ? 'paused' : 'running', address }
    }
    const exit = readExit(paths.exchange)
    const oom = readOomKills(this.#cgroup(id), this.#parts.cgroups) > 0
    const message =
      exit?.message ??
      (oom ? 'killed: out of memory' : exit ? undefined : 'ended from outside, or the machine was restarted')
    return { id, state: 'exited', exitCode: exit?.exitCode ?? 137, ...(message !== undefined && { message }) }
  }

  #paths(id: string): SandboxPaths {
    return sandboxPaths(this.#parts, id)
  }

  #cgroup(id: string): string {
    return sandboxCgroup(this.#parts, id)
  }
}

function takeAddress(addresses: AddressPool): string {
  try {
    return addresses.take()
  } catch (error) {
    throw new RuntimeError('start_failed', messageOf(error), { cause: error })
  }
}

function asRuntimeError(error: unknown): unknown {
  if (isNoSpace(error))
    return new RuntimeError('no_space', 'Cannot start the sandbox: no space left on the disk', {
      cause: error,
    })
  if (error instanceof RuntimeError) return error
  return new RuntimeError('start_failed', `Cannot start the sandbox: ${messageOf(error)}`, { cause: error })
}
