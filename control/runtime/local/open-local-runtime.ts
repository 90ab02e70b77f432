import { chmodSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ProgramStarter } from '../../../lib/program-starter.ts'
import { ImageStore } from '../../image/store.ts'
import { prepareGuestDir } from '../guest-dir.ts'
import { SECCOMP_PROFILE, thisMachine } from '../machine.ts'
import { openAddresses } from '../open-addresses.ts'
import type { RuntimeOptions } from '../open-runtime.ts'
import type { Runtime } from '../runtime.ts'
import { type DockerProfile, toOciSeccomp } from '../seccomp.ts'
import { readCgroupLayout } from './cgroup.ts'
import { findMissing, whyNoPlace } from './checks.ts'
import { Holds } from './hold.ts'
import { imagesInUse } from './images-in-use.ts'
import { LocalRuntime } from './local-runtime.ts'
import { createOciRuntime } from './oci-runtime.ts'
import type { Parts } from './parts.ts'
import { LocalSnapshots } from './snapshots.ts'
import { CAPABILITIES } from './spec.ts'

/** Opens the runtime. Throws one clear sentence when the machine lacks something. */
export async function openLocalRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { config, instance, dataDir, log, signal } = options
  const missing = findMissing(thisMachine(), config.runtime.ociRuntime)
  const whyNot = whyNoPlace(dataDir)
  if (whyNot !== undefined) missing.push(whyNot)
  if (missing.length > 0) throw new Error(missing.join(' '))
  for (const path of [
    join(dataDir, 'sandboxes'),
    join(instance.runDir, 'roots'),
    join(instance.runDir, 'mounts'),
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
      internalRegistries: config.runtime.internalRegistries,
      proxyEnvironment: options.proxyEnvironment,
      pullTimeoutMs: config.runtime.pullTimeoutSeconds * 1000,
      maxUnpackedBytes: config.runtime.imageMaxUnpackedBytes,
      policy: config.runtime.imagePullPolicy,
      log,
      now: Date.now,
      signal,
    }),
    openAddresses(options),
  ])
  const programs = new ProgramStarter()
  // It takes longer to begin than a sandbox has to wait for.
  programs.start()
  const profile = JSON.parse(readFileSync(SECCOMP_PROFILE, 'utf8')) as DockerProfile
  const parts: Parts = {
    ...options,
    guest,
    images,
    ...network,
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
  }
  const holds = new Holds(parts.cgroups)
  const snapshots = new LocalSnapshots(parts, holds)
  await snapshots.open()
  images.keepFor(async () => [
    ...(await imagesInUse({ dataDir, runDir: instance.runDir })),
    ...snapshots.imagesInUse(),
  ])
  return new LocalRuntime(parts, { snapshots, holds })
}
