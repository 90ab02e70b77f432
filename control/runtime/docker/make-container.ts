// A create on Docker: the record and the exchange directory, then the daemon is asked for the container, which execd starts in and waits
// while the rest is as everywhere (bring-up.ts).

import { existsSync, readFileSync } from 'node:fs'
import { lstat, mkdir } from 'node:fs/promises'
import { EXCHANGE_DIR, GUEST_DIR, ISOLATION_DIR } from '../../../lib/api/guest.ts'
import { settleAll } from '../../async.ts'
import { bringUp } from '../bring-up.ts'
import { makeExchange } from '../exchange.ts'
import { openFilesLimit } from '../machine.ts'
import type { PhaseWatch } from '../phase-watch.ts'
import { register } from '../register.ts'
import { RuntimeError, type RuntimeSpec } from '../runtime.ts'
import { type NamedProcess, startTimeOf, writeRecord } from '../sandbox-record.ts'
import { makeTrust } from '../trust/make-trust.ts'
import { makeContainerSpec } from './container-spec.ts'
import { readImageBundles } from './image-bundles.ts'
import { planImageVolumes } from './image-volumes.ts'
import type { DockerImage } from './images/inspect.ts'
import { openMounts, verifyMounts } from './mounts.ts'
import { type DockerParts, type DockerRecord, sandboxPaths } from './parts.ts'
import { findContainer } from './remove-container.ts'

const LOOK_TIMEOUT_MS = 5000

/** Makes a sandbox of an image, as far as the entrypoint of its user. What it has made when it fails is the caller's to clear. */
export async function makeContainer(
  parts: DockerParts,
  {
    spec,
    image,
    record,
    watch,
  }: { spec: RuntimeSpec; image: DockerImage; record: DockerRecord; watch: PhaseWatch },
  signal: AbortSignal,
): Promise<void> {
  const { config, rootOwner } = parts
  const { id } = spec
  const paths = sandboxPaths(parts, id)
  await mkdir(paths.folder, { mode: 0o711 })
  const exchange = {
    owner: rootOwner,
    isLimited: spec.limits.diskBytes !== undefined,
    run: parts.programs.run,
  }
  await settleAll([writeRecord(paths.record, record), makeExchange(paths.exchange, exchange, signal)])
  watch.mark('root')
  await bringUp(
    parts,
    {
      spec,
      record,
      paths,
      owner: rootOwner,
      given: { ...image.config, env: { ...image.config.env, ...config.docker.sandboxEnv } },
      watch,
      registered: register(parts, { spec, record }, signal),
      start: () => startContainer(parts, { spec, image, record }, signal),
      wasOutOfMemory: () => wasOutOfMemory(parts, record),
    },
    signal,
  )
}

/**
 * Has the daemon make and start the container, and finds its first process. Once the daemon has been asked, its answer is waited for
 * whatever the caller wants: who left before would not know what there is to remove.
 */
async function startContainer(
  parts: DockerParts,
  { spec, image, record }: { spec: RuntimeSpec; image: DockerImage; record: DockerRecord },
  signal: AbortSignal,
): Promise<NamedProcess> {
  const { engine, ownership, guest, namespaces, config } = parts
  if (spec.allowNamespaces && 'refusal' in namespaces)
    throw new RuntimeError('unsupported', namespaces.refusal)
  const imageVolumes = planImageVolumes({
    declared: image.volumes ?? [],
    targets: targetsOf(spec, image, config.docker.sandboxBinds),
    prefix: `opensandbox-${parts.instance.key}.${spec.id}`,
    isLimited: spec.limits.diskBytes !== undefined,
  })
  if (imageVolumes.length > 0) {
    // Before there is one, so that a crash leaves none that nobody knows.
    record.imageVolumes = imageVolumes.map((each) => each.name)
    await writeRecord(sandboxPaths(parts, spec.id).record, record)
  }
  const { mounts, staged } = await openMounts(parts, spec, signal)
  const bundles = () => readImageBundles(parts, { id: spec.id, image: image.id }, signal)
  const trust = await makeTrust(
    { egress: parts.egress, folder: sandboxPaths(parts, spec.id).trust, bundles },
    spec,
    signal,
  )
  signal.throwIfAborted()
  const wanted = makeContainerSpec({
    name: ownership.nameOf(spec.id),
    labels: ownership.labelsOf(spec.id),
    image: image.id,
    imageEnv: image.config.env,
    spec,
    mounts,
    imageVolumes,
    trust,
    address: record.address,
    gateway: parts.gateway,
    command: guest.command,
    guestDir: guest.path,
    exchangeDir: sandboxPaths(parts, spec.id).exchange,
    hostDirs: image.hostDirs,
    config: config.docker,
    openFiles: openFilesLimit(),
    hasIpv6: existsSync('/proc/sys/net/ipv6'),
    opensIpv6: parts.ipv6 !== undefined,
    ...(spec.allowNamespaces && 'seccomp' in namespaces && { namespaces }),
  })
  const container = await engine.call((abortSignal) =>
    engine.docker.createContainer({ ...wanted, abortSignal }),
  )
  record.container = container.id
  signal.throwIfAborted()
  await engine.call((abortSignal) => container.start({ abortSignal }))
  signal.throwIfAborted()
  const { State } = await engine.call((abortSignal) => container.inspect({ abortSignal }))
  const startTime = State.Pid > 0 ? startTimeOf(State.Pid) : undefined
  if (startTime === undefined || !belongsTo(State.Pid, container.id))
    throw new RuntimeError(
      'start_failed',
      State.Running
        ? 'The processes of the Docker daemon cannot be seen from here: control has to run in its process namespace'
        : 'The first process of the sandbox ended at once',
    )
  await verifyMounts([...staged, ...(await exchangeOf(parts, spec))], State.Pid)
  return { pid: State.Pid, startTime }
}

/** Where something is mounted whatever the image declares. */
function targetsOf(
  { mounts, volumes = [], allowNamespaces }: RuntimeSpec,
  { hostDirs }: DockerImage,
  binds: readonly string[],
): string[] {
  return [
    ...[...mounts, ...volumes].map(({ target }) => target),
    ...hostDirs,
    ...binds.map((each) => each.split(':')[1] ?? ''),
    GUEST_DIR,
    EXCHANGE_DIR,
    ...(allowNamespaces ? [ISOLATION_DIR] : []),
  ]
}

/** The exchange directory, where it is a mount that the daemon has to see. */
async function exchangeOf(
  parts: DockerParts,
  { id, limits }: RuntimeSpec,
): Promise<Parameters<typeof verifyMounts>[0]> {
  if (limits.diskBytes === undefined) return []
  const { dev: device, ino: inode } = await lstat(sandboxPaths(parts, id).exchange)
  return [{ target: EXCHANGE_DIR, device, inode }]
}

/** What the daemon says of the end; when it says nothing, neither does the message. */
async function wasOutOfMemory(parts: DockerParts, { id, container }: DockerRecord): Promise<boolean> {
  try {
    const found = await findContainer(parts, { id, container }, AbortSignal.timeout(LOOK_TIMEOUT_MS))
    return found?.State.OOMKilled ?? false
  } catch {
    return false // it does not answer
  }
}

/** Whether a process is the container's, and not another one that has its number by now, or in another process namespace. */
function belongsTo(pid: number, container: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(container)
  } catch {
    return false // no such process
  }
}
