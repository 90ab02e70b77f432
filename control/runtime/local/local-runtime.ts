// Sandboxes on this machine by an OCI runtime, without a daemon (design D6a). A create goes: record, root, then side by side
// `run` (execd starts and waits), network and egress rules; only then execd gets its boot file, starts the user's
// entrypoint, and says that it is ready. Every step can be undone by `remove`, which looks at what is there and not at what should be; so an interrupted create, a crash and an
// ordinary delete all end in the same way.

import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { mkdir, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type BootFile, EXECD_PORT, type ExitFile, type ReadyFile } from '../../../lib/api/guest.ts'
import { LIFECYCLE_VARIABLE, preStartTimeoutMs } from '../../../lib/api/lifecycle-hooks.ts'
import type { Config } from '../../../lib/config.ts'
import { messageOf, systemCodeOf } from '../../../lib/errors.ts'
import type { Instance } from '../../../lib/instance.ts'
import type { Logger } from '../../../lib/log.ts'
import { ProgramThread } from '../../../lib/program-thread.ts'
import type { EgressClient } from '../../egress-client.ts'
import { isNoSpace } from '../../image/failure.ts'
import type { Image } from '../../image/image.ts'
import { ImageStore } from '../../image/store.ts'
import { removeTree } from '../../remove-tree.ts'
import { type GuestDir, prepareGuestDir } from '../guest-dir.ts'
import {
  type CreatePhase,
  type CreateWatch,
  type Runtime,
  RuntimeError,
  type RuntimeEvent,
  type RuntimeSandbox,
  type RuntimeSpec,
} from '../runtime.ts'
import { type AddressPool, createAddressPool } from './addresses.ts'
import {
  type CgroupLayout,
  cgroupParentOf,
  cgroupPathOf,
  isFrozen,
  readCgroupLayout,
  readOomKills,
  removeCgroup,
} from './cgroup.ts'
import { findMissing, SECCOMP_PROFILE, thisMachine } from './checks.ts'
import { readEntrypointLog } from './entrypoint-log.ts'
import { handOver } from './hand-over.ts'
import { connectSandbox, disconnectSandbox } from './network.ts'
import { createOciRuntime, type OciRuntime } from './oci-runtime.ts'
import { makeOwned, mountRoot, unmountRoot } from './root.ts'
import {
  interfaceOf,
  isRunning,
  listSandboxIds,
  pathsOf,
  readRecord,
  type SandboxPaths,
  type SandboxRecord,
  startTimeOf,
  writeRecord,
} from './sandbox-record.ts'
import { type DockerProfile, type OciSeccomp, toOciSeccomp } from './seccomp.ts'
import { CAPABILITIES, makeSpec } from './spec.ts'
import { readJson, waitForJson } from './watch-file.ts'

/** How long a sandbox has until it is ready, beside the time of a hook before its entrypoint. */
const READY_TIMEOUT_MS = 20_000
const MAX_MESSAGE_LENGTH = 5000
const REMOVE_TIMEOUT_MS = 60_000
/** How often the first processes of sandboxes are looked at. */
const WATCH_EVERY_MS = 250
/** What execd needs beyond the grace of the entrypoint to end by itself. */
const EXTRA_GRACE_MS = 1500
const OPEN_FILES = 65_536

export type LocalRuntimeOptions = {
  config: Config
  instance: Instance
  dataDir: string
  egress: EgressClient
  /** The variables that name proxies, for pulling images. */
  proxyEnvironment: Record<string, string>
  log: Logger
  signal: AbortSignal
}

/** Opens the runtime. Throws one clear sentence when the machine lacks something. */
export async function openLocalRuntime(options: LocalRuntimeOptions): Promise<Runtime> {
  const { config, instance, dataDir, egress, log, signal } = options
  const missing = findMissing(thisMachine(), config.runtime.ociRuntime)
  if (missing.length > 0) throw new Error(missing.join(' '))
  for (const path of [
    join(dataDir, 'sandboxes'),
    join(instance.runDir, 'roots'),
    join(instance.runDir, 'runc'),
  ])
    mkdirSync(path, { recursive: true, mode: 0o711 })
  // The sandbox's root user walks to its root from here; the sockets beside it are closed by their own modes.
  for (const path of [instance.runDir, join(instance.runDir, 'roots')]) chmodSync(path, 0o711)
  const [guest, images, network] = await Promise.all([
    prepareGuestDir({ dataDir, log, signal }),
    ImageStore.open({
      dataDir,
      aliases: config.runtime.images,
      insecureRegistries: config.runtime.insecureRegistries,
      proxyEnvironment: options.proxyEnvironment,
      pullTimeoutMs: config.runtime.pullTimeoutSeconds * 1000,
      log,
      signal,
    }),
    egress.network(AbortSignal.any([signal, AbortSignal.timeout(10_000)])),
  ])
  const addresses = createAddressPool(network.subnet, network.gateway)
  for (const id of await listSandboxIds(dataDir)) {
    const record = readRecord(pathsOf(id, { dataDir, runDir: instance.runDir }).record)
    if (record) addresses.reserve(record.address)
  }
  const programs = new ProgramThread()
  const profile = JSON.parse(readFileSync(SECCOMP_PROFILE, 'utf8')) as DockerProfile
  return new LocalRuntime({
    ...options,
    guest,
    images,
    addresses,
    gateway: network.gateway,
    programs,
    oci: createOciRuntime(config.runtime.ociRuntime, {
      root: join(instance.runDir, 'runc'),
      run: programs.run,
    }),
    cgroups: readCgroupLayout(),
    seccomp: {
      usual: toOciSeccomp(profile, process.arch, CAPABILITIES),
      withNamespaces: toOciSeccomp(profile, process.arch, CAPABILITIES, { allowNamespaces: true }),
    },
  })
}

type Parts = LocalRuntimeOptions & {
  guest: GuestDir
  images: ImageStore
  addresses: AddressPool
  gateway: string
  /** Runs the programs that make and remove sandboxes. */
  programs: ProgramThread
  oci: OciRuntime
  cgroups: CgroupLayout
  seccomp: { usual: OciSeccomp; withNamespaces: OciSeccomp }
}

class LocalRuntime implements Runtime {
  readonly name = 'local'
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async create(spec: RuntimeSpec, signal: AbortSignal, watch: CreateWatch = {}): Promise<RuntimeSandbox> {
    const { images, addresses, instance, log } = this.#parts
    const clock = stopwatch(watch)
    const image = await images.resolve(spec.image.uri, spec.image.auth, signal, watch.progress)
    clock.mark('image')
    const record: SandboxRecord = {
      id: spec.id,
      address: takeAddress(addresses),
      interface: interfaceOf(spec.id, instance.interfacePrefix),
      complete: false,
    }
    try {
      await this.#build(spec, image, { record, clock }, signal)
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
    return { id: spec.id, state: 'running', address: record.address }
  }

  async #build(
    spec: RuntimeSpec,
    image: Image,
    { record, clock }: { record: SandboxRecord; clock: Stopwatch },
    signal: AbortSignal,
  ): Promise<void> {
    const { config, oci, programs, egress, gateway, guest, cgroups, seccomp, instance, log } = this.#parts
    const { id } = spec
    const paths = this.#paths(id)
    await mkdir(paths.folder, { mode: 0o711 })
    await writeRecord(paths.record, record)
    const files = async () => {
      await makeOwned(paths.exchange, 0o700)
      const oci = makeSpec({
        id,
        rootfs: paths.root,
        command: guest.command,
        guestDir: guest.path,
        exchangeDir: paths.exchange,
        hostDirs: image.hostDirs,
        mounts: spec.mounts,
        cgroupPath: cgroupPathOf(instance.key, id),
        limits: spec.limits,
        pidsLimit: config.runtime.pidsLimit,
        openFiles: Math.min(OPEN_FILES, ownOpenFilesLimit()),
        countsSwap: cgroups.countsSwap,
        seccomp: spec.allowNamespaces ? seccomp.withNamespaces : seccomp.usual,
        allowNamespaces: spec.allowNamespaces,
      })
      await writeFile(join(paths.folder, 'config.json'), JSON.stringify(oci), { mode: 0o600 })
    }
    const root = () =>
      mountRoot(
        {
          lower: image.rootfs,
          folder: paths.folder,
          mountPoint: paths.root,
          etc: etcFiles(id, record.address, gateway),
          run: programs.run,
        },
        signal,
      )
    await settleAll([files(), root()])
    clock.mark('root')
    const pidFile = join(paths.folder, 'init.pid')
    const registered = egress.register(
      id,
      {
        address: record.address,
        interface: record.interface,
        ...(spec.networkPolicy && { policy: spec.networkPolicy }),
        token: spec.egressToken,
      },
      signal,
    )
    const started = async () => {
      await oci.run(id, { bundle: paths.folder, pidFile, log: join(paths.folder, 'oci.log') }, signal)
      clock.mark('start')
      const pid = Number(readFileSync(pidFile, 'utf8'))
      const startTime = startTimeOf(pid)
      if (startTime === undefined)
        throw new RuntimeError('start_failed', 'The first process of the sandbox ended at once')
      record.init = { pid, startTime }
      // execd starts while the network is made. It runs nothing of the user's before it has its boot file.
      await settleAll([
        writeRecord(paths.record, record),
        connectSandbox({ ...record, gateway, run: programs.run }, pid, signal),
      ])
    }
    // Neither is left running when the other fails: what comes after a failure must not race with its clean-up.
    await settleAll([registered, started()])
    clock.mark('network')
    await handOver(paths.exchange, bootFile(spec, image, config.runtime.stopGraceSeconds * 1000))
    await this.#untilReady(paths, record, READY_TIMEOUT_MS + preStartTimeoutMs(spec.env), signal)
    clock.mark('ready')
    record.complete = true
    await writeRecord(paths.record, record)
    log.debug('sandbox made', { sandbox: id, ...clock.times() })
  }

  async #untilReady(
    paths: SandboxPaths,
    record: SandboxRecord,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const over = new AbortController()
    const waiting = AbortSignal.any([signal, over.signal, AbortSignal.timeout(timeoutMs)])
    const ready = waitForJson<ReadyFile>(paths.exchange, 'ready.json', waiting)
    // A first process that is gone will never say anything.
    const watching = (async () => {
      while (!waiting.aborted && isRunning(record))
        await delay(50, undefined, { signal: waiting }).catch(() => {})
      if (!waiting.aborted && !existsSync(join(paths.exchange, 'ready.json')))
        over.abort(new Error('The sandbox ended before it was ready'))
    })()
    try {
      const answer = await ready
      if (answer.ok) return
      const { reason } = answer
      const failure = reason === 'entrypoint_failed' || reason === 'hook_failed' ? reason : 'start_failed'
      // A hook may have written the file itself.
      throw new RuntimeError(failure, String(answer.message).slice(0, MAX_MESSAGE_LENGTH))
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof RuntimeError) throw error
      const why = over.signal.aborted
        ? 'it ended before it was ready'
        : `it was not ready within ${timeoutMs / 1000} seconds`
      const oom =
        readOomKills(this.#cgroup(record.id), this.#parts.cgroups) > 0 ? ' (killed: out of memory)' : ''
      throw new RuntimeError('start_failed', `Cannot start the sandbox: ${why}${oom}`, { cause: error })
    } finally {
      over.abort()
      await watching
    }
  }

  async pause(id: string, signal: AbortSignal): Promise<void> {
    const { state } = this.#mustFind(id)
    if (state !== 'running') throw new RuntimeError('not_running', `Sandbox "${id}" is ${state}`)
    await this.#parts.oci.pause(id, signal)
  }

  async resume(id: string, signal: AbortSignal): Promise<void> {
    const { state } = this.#mustFind(id)
    if (state !== 'paused') throw new RuntimeError('not_paused', `Sandbox "${id}" is ${state}`)
    await this.#parts.oci.resume(id, signal)
  }

  async remove(id: string, { graceMs }: { graceMs: number }, signal: AbortSignal): Promise<void> {
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
    await removeCgroup(this.#cgroup(id), cgroups)
    await removeTree(paths.folder, signal, run)
    if (record) addresses.release(record.address)
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
    const { dataDir, instance, cgroups, programs } = this.#parts
    await programs[Symbol.asyncDispose]()
    if ((await listSandboxIds(dataDir)).length > 0) return
    await rmdir(join(instance.runDir, 'roots'))
    await rmdir(join(instance.runDir, 'runc'))
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
      const paused = isFrozen(this.#cgroup(id), this.#parts.cgroups)
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
    const { dataDir, instance } = this.#parts
    return pathsOf(id, { dataDir, runDir: instance.runDir })
  }

  #cgroup(id: string): string {
    return cgroupPathOf(this.#parts.instance.key, id)
  }
}

function takeAddress(addresses: AddressPool): string {
  try {
    return addresses.take()
  } catch (error) {
    throw new RuntimeError('start_failed', messageOf(error), { cause: error })
  }
}

function bootFile(spec: RuntimeSpec, { config }: Image, stopGraceMs: number): BootFile {
  // Hooks are the caller's to give: how long a start may take depends on them.
  const { [LIFECYCLE_VARIABLE]: _ofImage, ...imageEnv } = config.env
  return {
    token: spec.execdToken,
    host: '0.0.0.0',
    port: EXECD_PORT,
    entrypoint: spec.entrypoint,
    env: { ...imageEnv, ...spec.env },
    workdir: config.workdir,
    uid: config.uid,
    gid: config.gid,
    stopGraceMs,
  }
}

function etcFiles(id: string, address: string, gateway: string): Record<string, string> {
  return {
    'resolv.conf': `nameserver ${gateway}\n`,
    hosts: `127.0.0.1 localhost\n${address} ${id}\n`,
    hostname: `${id}\n`,
  }
}

/** How execd says that the sandbox ended, or undefined when it could not, or what is there is forged. */
function readExit(exchange: string): ExitFile | undefined {
  const found = readJson<Partial<ExitFile> | null>(join(exchange, 'exit.json'))
  const exitCode = found?.exitCode
  if (typeof exitCode !== 'number' || !Number.isInteger(exitCode) || exitCode < 0 || exitCode > 255)
    return undefined
  return { exitCode, ...(typeof found?.message === 'string' && { message: found.message.slice(0, 1000) }) }
}

/** Waits for all, also when one fails, and then throws the first failure. */
async function settleAll(promises: Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(promises)
  const failed = results.find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
}

function asRuntimeError(error: unknown): unknown {
  if (isNoSpace(error))
    return new RuntimeError('no_space', 'Cannot start the sandbox: no space left on the disk', {
      cause: error,
    })
  if (error instanceof RuntimeError) return error
  return new RuntimeError('start_failed', `Cannot start the sandbox: ${messageOf(error)}`, { cause: error })
}

function ownOpenFilesLimit(): number {
  const hard = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return hard ? Number(hard) : OPEN_FILES
}

type Stopwatch = { mark(phase: CreatePhase): void; times(): Record<string, number> }

/** Milliseconds from phase to phase, for the log, and word of each for who watches. */
function stopwatch({ phaseDone }: CreateWatch): Stopwatch {
  const times: Record<string, number> = {}
  let last = performance.now()
  return {
    mark(phase) {
      times[phase] = Math.round(performance.now() - last)
      last = performance.now()
      phaseDone?.(phase)
    },
    times: () => times,
  }
}
