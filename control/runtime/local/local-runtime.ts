// Sandboxes on this machine by an OCI runtime, without a daemon. Every step of a create (make-sandbox.ts) can be undone
// by `remove`, which looks at what is there and not at what should be; so an interrupted create, a crash and an ordinary delete all
// end in the same way.

import { rmdir } from 'node:fs/promises'
import { availableParallelism, totalmem } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../../../lib/errors.ts'
import type { Image } from '../../image/image.ts'
import { readEntrypointLog } from '../entrypoint-log.ts'
import type { Images } from '../images.ts'
import { watchPhases } from '../phase-watch.ts'
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
  listSandboxIds,
  readRecord,
  type SandboxPaths,
  type SandboxRecord,
} from '../sandbox-record.ts'
import type { Snapshots } from '../snapshots.ts'
import { startFailure } from '../start-failure.ts'
import type { Volumes } from '../volumes.ts'
import { cgroupParentOf, removeCgroup } from './cgroup.ts'
import { diskAbility } from './disk.ts'
import { EndWatch } from './end-watch.ts'
import { type Found, findSandbox } from './find-sandbox.ts'
import { freeze, reclaimMemory, thaw } from './freezer.ts'
import type { Holds } from './hold.ts'
import { type Making, makeSandbox } from './make-sandbox.ts'
import { type Parts, sandboxCgroup, sandboxPaths } from './parts.ts'
import { clearSandbox, endGently } from './remove-sandbox.ts'
import { ROOT_OWNER } from './root.ts'
import type { LocalSnapshots } from './snapshots.ts'
import { createLocalVolumes } from './volumes.ts'

const REMOVE_TIMEOUT_MS = 60_000

export class LocalRuntime implements Runtime {
  readonly name = 'local'
  readonly rootOwner = ROOT_OWNER
  readonly abilities: Abilities
  readonly volumes: Volumes
  readonly #parts: Parts
  readonly #snapshots: LocalSnapshots
  readonly #holds: Holds
  readonly #ends: EndWatch
  /**
   * Each create keeps one processor busy, so that more at once are no sooner ready, and everything else waits for them: with 20 at once on 2
   * processors twice as often as with one more than there are processors.
   */
  readonly #places = new Places(availableParallelism() + 1)

  constructor(parts: Parts, { snapshots, holds }: { snapshots: LocalSnapshots; holds: Holds }) {
    this.#parts = parts
    this.#snapshots = snapshots
    this.#holds = holds
    this.#ends = new EndWatch({
      dataDir: parts.dataDir,
      runDir: parts.instance.runDir,
      find: (id) => this.#find(id),
    })
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
    try {
      // Held until the record, or nothing any more, needs it.
      using ground = await this.#groundOf(spec, signal, watch)
      const takePlace = async () => {
        leave = await this.#places.take(spec.tenant ?? '', signal)
        phases.mark('image')
      }
      return await this.#make(spec, ground, { takePlace, watch: phases }, signal)
    } catch (error) {
      signal.throwIfAborted()
      throw startFailure(error, this.#parts)
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
    course: Pick<Making, 'takePlace' | 'watch'>,
    signal: AbortSignal,
  ): Promise<RuntimeSandbox> {
    const { addresses, instance, log } = this.#parts
    const record: SandboxRecord = {
      id: spec.id,
      address: addresses.take(),
      interface: interfaceOf(spec.id, instance.interfacePrefix),
      image: image.id,
      base: image,
      ...(layers.length > 0 && { layers }),
      complete: false,
    }
    try {
      await makeSandbox(
        this.#parts,
        { spec, image, layers: this.#snapshots.pathsOf(layers), record, ...course },
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
      throw error
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
    if (record?.complete && graceMs > 0) await endGently(this.#parts, { record, graceMs }, signal)
    await this.#clear(id, record, signal)
  }

  /** Removes whatever there is of a sandbox. */
  async #clear(id: string, record: SandboxRecord | undefined, signal: AbortSignal): Promise<void> {
    await clearSandbox(this.#parts, { id, record }, signal)
    this.#ends.forget(id)
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
    for await (const sandbox of this.#ends.ends(signal)) {
      this.#parts.log.debug('sandbox ended', { sandbox: sandbox.id, exitCode: sandbox.exitCode })
      yield { type: 'exited', sandbox }
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

  #find(id: string): Found {
    return findSandbox(this.#parts, this.#holds, id)
  }

  #paths(id: string): SandboxPaths {
    return sandboxPaths(this.#parts, id)
  }

  #cgroup(id: string): string {
    return sandboxCgroup(this.#parts, id)
  }
}
