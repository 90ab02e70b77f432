// Sandboxes as containers of a Docker daemon on this machine. The daemon makes containers without a network; address, rules and
// hand-over are this program's, as on the local runtime (docs/decisions/docker-network.md). Every step of a create (make-container.ts)
// can be undone by `remove`, which looks at what is there and not at what should be.

import { existsSync } from 'node:fs'
import { rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { ContainerInfo, ContainerInspectInfo } from 'dockerode'
import { messageOf } from '../../../lib/errors.ts'
import { removeTree } from '../../remove-tree.ts'
import { readEntrypointLog } from '../entrypoint-log.ts'
import { readExit } from '../exit-file.ts'
import type { Images } from '../images.ts'
import { disconnectSandbox } from '../network.ts'
import { watchPhases } from '../phase-watch.ts'
import {
  type Abilities,
  type CreateWatch,
  type Runtime,
  RuntimeError,
  type RuntimeEvent,
  type RuntimeSandbox,
  type RuntimeSpec,
} from '../runtime.ts'
import { interfaceOf, isRunning, listSandboxIds } from '../sandbox-record.ts'
import type { Snapshots } from '../snapshots.ts'
import { unmountAll, unstageMounts } from '../staged-mounts.ts'
import { startFailure } from '../start-failure.ts'
import { untilEnded } from '../until-ended.ts'
import type { Volumes } from '../volumes.ts'
import { type Container, decideState, exitCodeIn } from './container-state.ts'
import { EngineRefusal } from './engine.ts'
import { followEvents } from './events.ts'
import { removeImageVolumes } from './image-volumes.ts'
import type { DockerImage } from './images/inspect.ts'
import { makeContainer } from './make-container.ts'
import { type DockerParts, type DockerRecord, recordOf, sandboxPaths } from './parts.ts'
import { findContainer, removeContainer, signalContainer } from './remove-container.ts'
import { DockerSnapshots } from './snapshots.ts'
import { Standstill } from './standstill.ts'
import { thaw } from './thaw.ts'
import { createDockerVolumes } from './volumes.ts'

const REMOVE_TIMEOUT_MS = 60_000
const INSPECT_TIMEOUT_MS = 10_000

export class DockerRuntime implements Runtime {
  readonly name = 'docker'
  readonly #parts: DockerParts
  readonly #snapshots: DockerSnapshots
  readonly #standstill: Standstill
  /** Those whose end is our own doing. */
  readonly #removing = new Set<string>()

  readonly abilities: Abilities
  readonly volumes: Volumes

  constructor(parts: DockerParts) {
    this.#parts = parts
    this.abilities = parts.abilities
    this.volumes = createDockerVolumes(parts)
    this.#standstill = new Standstill({
      folderOf: (id) => sandboxPaths(parts, id).folder,
      letGoOn: (id, signal) => this.#letGoOn(id, signal),
    })
    this.#snapshots = new DockerSnapshots(parts, this.#standstill)
  }

  get images(): Images {
    return this.#parts.images
  }

  get snapshots(): Snapshots {
    return this.#snapshots
  }

  get rootOwner(): { uid: number; gid: number } {
    return this.#parts.rootOwner
  }

  async create(spec: RuntimeSpec, signal: AbortSignal, watch: CreateWatch = {}): Promise<RuntimeSandbox> {
    const { addresses, instance, log } = this.#parts
    const phases = watchPhases(watch)
    try {
      // Held until a container, or nothing any more, needs it.
      using lease = await this.#groundOf(spec, signal, watch)
      const { image } = lease
      phases.mark('image')
      const record: DockerRecord = {
        id: spec.id,
        address: addresses.take(),
        interface: interfaceOf(spec.id, instance.interfacePrefix),
        image: image.id,
        ground: { config: image.config, hostDirs: image.hostDirs },
        complete: false,
      }
      try {
        await makeContainer(this.#parts, { spec, image, record, watch: phases }, signal)
      } catch (error) {
        await this.#clear(spec.id, record, AbortSignal.timeout(REMOVE_TIMEOUT_MS)).catch((trouble) =>
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
    } catch (error) {
      signal.throwIfAborted()
      throw startFailure(error, this.#parts)
    }
  }

  /** What a sandbox is made upon; its row keeps a snapshot from being removed. */
  async #groundOf(
    { image, snapshotId }: RuntimeSpec,
    signal: AbortSignal,
    { progress }: CreateWatch,
  ): Promise<Disposable & { image: DockerImage }> {
    if (snapshotId === undefined) return await this.#parts.images.lease(image, signal, progress)
    return { image: await this.#snapshots.imageOf(snapshotId, signal), [Symbol.dispose]: () => {} }
  }

  async pause(id: string, signal: AbortSignal): Promise<void> {
    await this.#standstill.apart(id, () => this.#change(id, 'pause', signal), signal)
  }

  async resume(id: string, signal: AbortSignal): Promise<void> {
    await this.#standstill.apart(id, () => this.#change(id, 'unpause', signal), signal)
  }

  /** Asks first and looks why not afterwards, so that what works takes one call. */
  async #change(id: string, verb: 'pause' | 'unpause', signal: AbortSignal): Promise<void> {
    const { engine } = this.#parts
    const wanted = verb === 'pause' ? 'running' : 'paused'
    const record = recordOf(this.#parts, id)
    const refused = (state: string, cause?: unknown) =>
      new RuntimeError(verb === 'pause' ? 'not_running' : 'not_paused', `Sandbox "${id}" is ${state}`, {
        cause,
      })
    if (!record?.container || !record.complete) {
      const found = await this.inspect(id, signal)
      throw found ? refused(found.state) : new RuntimeError('not_found', `There is no sandbox "${id}"`)
    }
    const container = engine.docker.getContainer(record.container)
    try {
      await engine.call((abortSignal) => container[verb]({ abortSignal } as object), { signal })
    } catch (error) {
      if (!(error instanceof EngineRefusal)) throw error
      const state = (await this.inspect(id, signal))?.state ?? 'gone'
      throw state === wanted ? startFailure(error, this.#parts) : refused(state, error)
    }
  }

  /** After a standstill that nobody has ended. */
  async #letGoOn(id: string, signal: AbortSignal): Promise<void> {
    const { engine } = this.#parts
    const record = recordOf(this.#parts, id)
    if (!record?.container) return
    const container = engine.docker.getContainer(record.container)
    try {
      await engine.call((abortSignal) => container.unpause({ abortSignal } as object), { signal })
    } catch (error) {
      // It goes on already, or has ended, or so the daemon believes.
      if (!(error instanceof EngineRefusal)) throw error
    }
    await thaw(record)
  }

  async remove(id: string, { graceMs }: { graceMs: number }, signal: AbortSignal): Promise<void> {
    const record = recordOf(this.#parts, id)
    this.#removing.add(id)
    try {
      if (record?.complete && graceMs > 0) await this.#endGently(record, graceMs, signal)
      await this.#clear(id, record, signal)
    } finally {
      this.#removing.delete(id)
    }
  }

  async #endGently(record: DockerRecord, graceMs: number, signal: AbortSignal): Promise<void> {
    if (!record.container || !isRunning(record)) return
    await signalContainer(this.#parts, record.container, 'SIGTERM', signal)
    await untilEnded(record, graceMs, signal)
  }

  /** Removes whatever there is of a sandbox, in the reverse order of its making. */
  async #clear(id: string, record: DockerRecord | undefined, signal: AbortSignal): Promise<void> {
    const { egress, addresses, instance, programs } = this.#parts
    await removeContainer(this.#parts, { id, container: record?.container }, signal)
    await removeImageVolumes(this.#parts.engine, record?.imageVolumes ?? [], signal)
    await disconnectSandbox(
      record?.interface ?? interfaceOf(id, instance.interfacePrefix),
      programs.run,
      signal,
    )
    // Only once nothing of it can send any more.
    await egress.unregister(id, signal)
    const paths = sandboxPaths(this.#parts, id)
    await unstageMounts(paths.mounts, programs.run, signal)
    await unmountAll(paths.exchange, programs.run, signal)
    await removeTree(paths.folder, signal, programs.run)
    if (record) addresses.release(record.address)
  }

  async inspect(id: string, signal: AbortSignal): Promise<RuntimeSandbox | undefined> {
    const record = recordOf(this.#parts, id)
    const found = await findContainer(this.#parts, { id, container: record?.container }, signal)
    if (found || existsSync(sandboxPaths(this.#parts, id).folder))
      return this.#decide(id, record, found && ofInspect(found))
    const registered = await this.#parts.egress.list(signal)
    return registered.some((each) => each.id === id) ? { id, state: 'incomplete' } : undefined
  }

  async list(signal: AbortSignal): Promise<RuntimeSandbox[]> {
    const { engine, ownership, dataDir, egress } = this.#parts
    const [containers, folders, registered] = await Promise.all([
      engine.call(
        (abortSignal) =>
          engine.docker.listContainers({ all: true, filters: { label: [ownership.filter] }, abortSignal }),
        { signal },
      ),
      listSandboxIds(dataDir),
      egress.list(signal),
    ])
    const ours = new Map<string, Container>()
    for (const container of containers) {
      const id = ownership.idOf({ name: container.Names[0] ?? '', labels: container.Labels })
      if (id !== undefined) ours.set(id, ofListing(container))
    }
    const ids = new Set([...folders, ...ours.keys(), ...registered.map(({ id }) => id)])
    return [...ids].map((id) => {
      const record = recordOf(this.#parts, id)
      // One that was made while the daemon was listing is not in the list, and runs.
      const isNew = !ours.has(id) && record !== undefined && isRunning(record)
      return this.#decide(id, record, isNew ? { state: 'running' } : ours.get(id))
    })
  }

  #decide(id: string, record: DockerRecord | undefined, container: Container | undefined): RuntimeSandbox {
    const exit = readExit(sandboxPaths(this.#parts, id).exchange)
    const sandbox = decideState({
      id,
      ...(record && { record }),
      ...(container && { container }),
      isRunning: record !== undefined && isRunning(record),
      ...(exit && { exit }),
    })
    const isForAMoment = sandbox.state === 'paused' && this.#standstill.isHeld(id)
    return isForAMoment ? { ...sandbox, state: 'running' } : sandbox
  }

  async logs(id: string, { maxBytes }: { maxBytes: number }): Promise<Uint8Array | undefined> {
    return readEntrypointLog(sandboxPaths(this.#parts, id).exchange, maxBytes)
  }

  async *watch(signal: AbortSignal): AsyncGenerator<RuntimeEvent> {
    const { engine, ownership, log } = this.#parts
    for await (const event of followEvents(engine, { label: ownership.filter, log, signal })) {
      if (event.type === 'connected') {
        yield { type: 'returned' }
        continue
      }
      const id = ownership.idOf(event)
      if (id === undefined || this.#removing.has(id)) continue
      if (event.type === 'changed') {
        if (!this.#standstill.isHeld(id)) yield { type: 'changed', id }
        continue
      }
      const sandbox = await this.inspect(
        id,
        AbortSignal.any([signal, AbortSignal.timeout(INSPECT_TIMEOUT_MS)]),
      ).catch((error) => log.debug('an end could not be looked at', { sandbox: id, error: messageOf(error) }))
      if (sandbox?.state !== 'exited') continue
      log.debug('sandbox ended', { sandbox: id, exitCode: sandbox.exitCode })
      yield { type: 'exited', sandbox }
    }
  }

  async close(): Promise<void> {
    const { dataDir, instance, images, programs } = this.#parts
    await images.close()
    await programs[Symbol.asyncDispose]()
    await rm(join(instance.runDir, 'docker-ssh'), { recursive: true, force: true })
    if ((await listSandboxIds(dataDir)).length > 0) return
    // One that still holds something is not empty, and stays.
    await rmdir(join(instance.runDir, 'mounts')).catch(() => undefined)
  }
}

function ofListing({ State, Status }: ContainerInfo): Container {
  const exitCode = exitCodeIn(Status)
  return { state: State, ...(exitCode !== undefined && { exitCode }) }
}

function ofInspect({ State }: ContainerInspectInfo): Container {
  // One that runs again has the code of no end.
  const isOver = State.Status === 'exited' || State.Status === 'dead'
  return { state: State.Status, ...(isOver && { exitCode: State.ExitCode, oomKilled: State.OOMKilled }) }
}
