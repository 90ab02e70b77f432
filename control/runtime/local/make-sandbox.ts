// A create on this machine: the record, then side by side the root and the OCI runtime's file, from which its first process is run; the
// rest is as everywhere (bring-up.ts).

import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { settleAll } from '../../async.ts'
import type { Image } from '../../image/image.ts'
import { bringUp } from '../bring-up.ts'
import { makeExchange } from '../exchange.ts'
import { openFilesLimit } from '../machine.ts'
import type { PhaseWatch } from '../phase-watch.ts'
import { register } from '../register.ts'
import { RuntimeError, type RuntimeSpec } from '../runtime.ts'
import { type NamedProcess, type SandboxRecord, startTimeOf, writeRecord } from '../sandbox-record.ts'
import { stageMounts } from '../staged-mounts.ts'
import { findBundles } from '../trust/find-bundles.ts'
import { makeTrust } from '../trust/make-trust.ts'
import { readOomKills } from './cgroup.ts'
import { diskPathsOf, makeDisk } from './disk.ts'
import type { OciRuntime } from './oci-runtime.ts'
import { type Parts, sandboxCgroup, sandboxPaths } from './parts.ts'
import { mountRoot, ROOT_OWNER } from './root.ts'
import { makeSpec } from './spec.ts'
import { volumePathOf } from './volumes.ts'

export type Making = {
  spec: RuntimeSpec
  image: Image
  /** Where the layers of snapshots lie that are mounted above the image, from the top. */
  layers: string[]
  record: SandboxRecord
  /** Resolves when there is a place for what keeps a processor busy. */
  takePlace(): Promise<void>
  watch: PhaseWatch
}

/** Makes a sandbox of an image, as far as the entrypoint of its user. What it has made when it fails is the caller's to clear. */
export async function makeSandbox(parts: Parts, making: Making, signal: AbortSignal): Promise<void> {
  const { spec, record, takePlace } = making
  const paths = sandboxPaths(parts, spec.id)
  await mkdir(paths.folder, { mode: 0o711 })
  await writeRecord(paths.record, record)
  // Before its turn: the rules of all that wait for theirs then go into the kernel together.
  const registered = register(parts, { spec, record }, signal)
  try {
    await takePlace()
    await makeRunning(parts, making, registered, signal)
  } finally {
    await registered.catch(() => {})
  }
}

async function makeRunning(
  parts: Parts,
  { spec, image, layers, record, watch }: Making,
  registered: Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { config, oci, programs, gateway, guest, cgroups, seccomp } = parts
  const { id } = spec
  const paths = sandboxPaths(parts, id)
  const { diskBytes } = spec.limits
  const disk = diskPathsOf(paths)
  if (diskBytes !== undefined) await makeDisk(disk, { bytes: diskBytes, run: programs.run }, signal)
  const exchange = { owner: ROOT_OWNER, isLimited: diskBytes !== undefined, run: programs.run }
  await makeExchange(paths.exchange, exchange, signal)
  const root = mountRoot(
    {
      lowers: [...layers, image.rootfs],
      folder: diskBytes === undefined ? paths.folder : disk.mountPoint,
      mountPoint: paths.root,
      etc: etcFiles(id, record.address, gateway),
      run: programs.run,
    },
    signal,
  )
  const files = async () => {
    const mounts = await stageMounts(
      spec,
      {
        folder: paths.mounts,
        volumePath: (key) => volumePathOf(parts.dataDir, key),
        owner: ROOT_OWNER,
        run: programs.run,
      },
      signal,
    )
    const trusted = {
      egress: parts.egress,
      folder: paths.trust,
      bundles: async () => {
        await root
        return findBundles(paths.root)
      },
    }
    const trust = await makeTrust(trusted, spec, signal)
    const oci = makeSpec({
      id,
      rootfs: paths.root,
      command: guest.command,
      guestDir: guest.path,
      exchangeDir: paths.exchange,
      hostDirs: image.hostDirs,
      mounts,
      trust,
      cgroupPath: sandboxCgroup(parts, id),
      opensIpv6: parts.ipv6 !== undefined,
      limits: spec.limits,
      pidsLimit: config.runtime.pidsLimit,
      openFiles: openFilesLimit(),
      countsSwap: cgroups.countsSwap,
      seccomp: spec.allowNamespaces ? seccomp.withNamespaces : seccomp.usual,
      allowNamespaces: spec.allowNamespaces,
    })
    await writeFile(join(paths.folder, 'config.json'), JSON.stringify(oci), { mode: 0o600 })
  }
  await settleAll([files(), root])
  watch.mark('root')
  await bringUp(
    parts,
    {
      spec,
      record,
      paths,
      owner: ROOT_OWNER,
      given: image.config,
      watch,
      registered,
      start: () => startFirstProcess(oci, { id, bundle: paths.folder }, signal),
      wasOutOfMemory: () => readOomKills(sandboxCgroup(parts, id), cgroups) > 0,
    },
    signal,
  )
}

async function startFirstProcess(
  oci: OciRuntime,
  { id, bundle }: { id: string; bundle: string },
  signal: AbortSignal,
): Promise<NamedProcess> {
  const pidFile = join(bundle, 'init.pid')
  await oci.run(id, { bundle, pidFile, log: join(bundle, 'oci.log') }, signal)
  const pid = Number(readFileSync(pidFile, 'utf8'))
  const startTime = startTimeOf(pid)
  if (startTime === undefined)
    throw new RuntimeError('start_failed', 'The first process of the sandbox ended at once')
  return { pid, startTime }
}

function etcFiles(id: string, address: string, gateway: string): Record<string, string> {
  return {
    'resolv.conf': `nameserver ${gateway}\n`,
    hosts: `127.0.0.1 localhost\n${address} ${id}\n`,
    hostname: `${id}\n`,
  }
}
