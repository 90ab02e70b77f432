// A create, from the record to the entrypoint: root, then side by side `run` (execd starts and waits), network and egress rules; only
// then execd gets its boot file, starts the user's entrypoint, and says that it is ready.

import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { preStartTimeoutMs } from '../../../lib/api/lifecycle-hooks.ts'
import { settleAll } from '../../async.ts'
import type { Image } from '../../image/image.ts'
import { makeBootFile } from '../boot-file.ts'
import { handOver } from '../hand-over.ts'
import { openFilesLimit } from '../machine.ts'
import { connectSandbox } from '../network.ts'
import type { PhaseWatch } from '../phase-watch.ts'
import { RuntimeError, type RuntimeSpec } from '../runtime.ts'
import { isRunning, type SandboxRecord, startTimeOf, writeRecord } from '../sandbox-record.ts'
import { stageMounts } from '../staged-mounts.ts'
import { READY_TIMEOUT_MS, untilReady } from '../until-ready.ts'
import { readOomKills } from './cgroup.ts'
import { diskPathsOf, makeDisk } from './disk.ts'
import { type Parts, sandboxCgroup, sandboxPaths } from './parts.ts'
import { makeOwned, mountRoot, ROOT_OWNER } from './root.ts'
import { makeSpec } from './spec.ts'
import { volumePathOf } from './volumes.ts'

/** Makes a sandbox of an image, as far as the entrypoint of its user. What it has made when it fails is the caller's to clear. */
export async function makeSandbox(
  parts: Parts,
  {
    spec,
    image,
    layers,
    record,
    watch,
  }: {
    spec: RuntimeSpec
    image: Image
    /** Where the layers of snapshots lie that are mounted above the image, from the top. */
    layers: string[]
    record: SandboxRecord
    watch: PhaseWatch
  },
  signal: AbortSignal,
): Promise<void> {
  const { config, oci, programs, egress, gateway, guest, cgroups, seccomp, log } = parts
  const { id } = spec
  const paths = sandboxPaths(parts, id)
  await mkdir(paths.folder, { mode: 0o711 })
  await writeRecord(paths.record, record)
  const { diskBytes } = spec.limits
  const disk = diskPathsOf(paths)
  if (diskBytes === undefined) await makeOwned(paths.exchange, 0o700)
  else await makeDisk(disk, { bytes: diskBytes, owner: ROOT_OWNER, run: programs.run }, signal)
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
    const oci = makeSpec({
      id,
      rootfs: paths.root,
      command: guest.command,
      guestDir: guest.path,
      exchangeDir: paths.exchange,
      hostDirs: image.hostDirs,
      mounts,
      cgroupPath: sandboxCgroup(parts, id),
      limits: spec.limits,
      pidsLimit: config.runtime.pidsLimit,
      openFiles: openFilesLimit(),
      countsSwap: cgroups.countsSwap,
      seccomp: spec.allowNamespaces ? seccomp.withNamespaces : seccomp.usual,
      allowNamespaces: spec.allowNamespaces,
    })
    await writeFile(join(paths.folder, 'config.json'), JSON.stringify(oci), { mode: 0o600 })
  }
  const root = () =>
    mountRoot(
      {
        lowers: [...layers, image.rootfs],
        folder: diskBytes === undefined ? paths.folder : disk.mountPoint,
        mountPoint: paths.root,
        etc: etcFiles(id, record.address, gateway),
        run: programs.run,
      },
      signal,
    )
  await settleAll([files(), root()])
  watch.mark('root')
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
    watch.mark('start')
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
  watch.mark('network')
  const boot = makeBootFile(spec, image.config, config.runtime.stopGraceSeconds * 1000)
  await handOver(paths.exchange, boot, ROOT_OWNER)
  await untilReady(
    {
      exchange: paths.exchange,
      timeoutMs: READY_TIMEOUT_MS + preStartTimeoutMs(spec.env),
      isRunning: () => isRunning(record),
      wasOutOfMemory: () => readOomKills(sandboxCgroup(parts, id), cgroups) > 0,
    },
    signal,
  )
  watch.mark('ready')
  record.complete = true
  await writeRecord(paths.record, record)
  log.debug('sandbox made', { sandbox: id, ...watch.times() })
}

function etcFiles(id: string, address: string, gateway: string): Record<string, string> {
  return {
    'resolv.conf': `nameserver ${gateway}\n`,
    hosts: `127.0.0.1 localhost\n${address} ${id}\n`,
    hostname: `${id}\n`,
  }
}
