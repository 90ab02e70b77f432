import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../../../lib/errors.ts'
import { ProgramStarter } from '../../../lib/program-starter.ts'
import { prepareGuestDir } from '../guest-dir.ts'
import { SECCOMP_PROFILE, thisMachine } from '../machine.ts'
import { openAddresses } from '../open-addresses.ts'
import type { RuntimeOptions } from '../open-runtime.ts'
import type { Runtime } from '../runtime.ts'
import { type DockerProfile, toOciSeccomp } from '../seccomp.ts'
import { abilitiesOf } from './abilities.ts'
import { readCertificates } from './certificates.ts'
import { type DaemonInfo, findMissing, rootOwnerOf } from './checks.ts'
import { DockerRuntime } from './docker-runtime.ts'
import { openEngine, type Reach, readInfo } from './engine.ts'
import { type DaemonPlace, placeOf, showPlace } from './host.ts'
import { DockerImages } from './images.ts'
import { createOwnership, loadSecret } from './ownership.ts'
import type { DockerParts } from './parts.ts'
import { whyElsewhere } from './same-machine.ts'
import { parseSeccompProfile } from './seccomp-profile.ts'
import { openSshTunnel } from './ssh-tunnel.ts'

/** What Docker leaves to a container but for what an operator takes away. */
const USUAL_CAPABILITIES = [
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'NET_RAW',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
] // prettier-ignore

/** Opens the runtime. Throws one clear sentence when the machine or the daemon lacks something. */
export async function openDockerRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { config, instance, dataDir, log, signal } = options
  const { docker } = config
  const place = placeOf(docker)
  const engine = await openEngine({
    ...(await reach(place, options)),
    shownAs: showPlace(place),
    timeoutMs: docker.apiTimeoutSeconds * 1000,
    signal,
  })
  const info = await readInfo(engine)
  const missing = findMissing(thisMachine(), info, docker.ociRuntime)
  if (missing.length > 0) throw new Error(missing.join(' '))
  const elsewhere = await whyElsewhere(engine, info, instance)
  if (elsewhere !== undefined)
    throw new Error(
      `Cannot use the Docker daemon at "${showPlace(place)}": it is not on this machine (${elsewhere}), and the network policy of a sandbox is enforced by this machine's kernel. Run control on that machine, or set docker.host or DOCKER_HOST to a daemon of this one`,
    )
  for (const path of [join(dataDir, 'sandboxes'), join(instance.runDir, 'mounts')])
    mkdirSync(path, { recursive: true, mode: 0o711 })
  const [guest, images, network] = await Promise.all([
    prepareGuestDir({ dataDir, log, signal }),
    DockerImages.open({
      engine,
      key: instance.key,
      dataDir,
      aliases: config.runtime.images,
      internalRegistries: [...config.runtime.insecureRegistries, ...config.runtime.internalRegistries],
      policy: config.runtime.imagePullPolicy,
      pullTimeoutMs: config.runtime.pullTimeoutSeconds * 1000,
      maxUnpackedBytes: config.runtime.imageMaxUnpackedBytes,
      ...layersFolderOf(info),
      log,
      now: Date.now,
      signal,
    }),
    openAddresses(options),
  ])
  const programs = new ProgramStarter()
  // It takes longer to begin than a sandbox has to wait for.
  programs.start()
  const rootOwner = rootOwnerOf(info)
  return new DockerRuntime({
    ...options,
    // The daemon reads no file of a client's: it is given the text.
    config: { ...config, docker: { ...docker, ...seccompOf(docker.seccompProfile) } },
    engine,
    ownership: createOwnership(instance.key, loadSecret(dataDir)),
    guest,
    images,
    ...network,
    programs,
    rootOwner,
    abilities: abilitiesOf(info),
    namespaces: namespacesOf(rootOwner, docker.dropCapabilities),
  })
}

/** Opens the way to the daemon, where it needs one. */
async function reach(
  place: DaemonPlace,
  { config: { docker }, instance, log, signal }: RuntimeOptions,
): Promise<Reach> {
  if (place.kind === 'socket') return { socketPath: place.path }
  if (place.kind === 'plain') return { host: place.host, port: place.port }
  if (place.kind === 'tls') {
    const { host, port, certPath } = place
    return { host, port, tls: certPath === undefined ? {} : readCertificates(certPath) }
  }
  const { sshConfig, sshAgent } = docker
  const opened = openSshTunnel({
    place,
    folder: join(instance.runDir, 'docker-ssh'),
    ...(sshConfig !== undefined && { configFile: sshConfig }),
    ...(sshAgent !== undefined && { agentSocket: sshAgent }),
    log,
    signal,
  })
  const socketPath = await opened.catch((error) => {
    throw new Error(`Cannot reach the Docker daemon at "${showPlace(place)}" (${messageOf(error)})`, {
      cause: error,
    })
  })
  return { socketPath }
}

/** Where the layers of the daemon's images lie, for the storage driver that has a directory for each. */
function layersFolderOf({ Driver, DockerRootDir }: DaemonInfo): { layersFolder?: string } {
  const folder = join(DockerRootDir ?? '/', Driver ?? '')
  return Driver === 'overlay2' && existsSync(folder) ? { layersFolder: folder } : {}
}

/** A profile's text, for a path; `unconfined` and the daemon's own are names. */
function seccompOf(profile: string | undefined): { seccompProfile?: string } {
  if (!profile?.startsWith('/')) return {}
  try {
    return { seccompProfile: parseSeccompProfile(readFileSync(profile, 'utf8')) }
  } catch (error) {
    throw new Error(`Cannot take docker.seccomp_profile "${profile}": ${messageOf(error)}`, { cause: error })
  }
}

/** How a sandbox may make namespaces here, or why it may not. */
function namespacesOf(rootOwner: { uid: number }, dropped: readonly string[]): DockerParts['namespaces'] {
  if (rootOwner.uid === 0)
    return {
      refusal:
        'Isolated sessions need a Docker daemon that maps the users of containers (userns-remap): without it, what they open of the kernel would be open to root of this machine. Use such a daemon, or the local runtime',
    }
  if (!existsSync(SECCOMP_PROFILE))
    return {
      refusal: `Isolated sessions need the seccomp profile "${SECCOMP_PROFILE}": install the package golang-github-containers-common`,
    }
  const kept = USUAL_CAPABILITIES.filter((name) => !dropped.includes(name)).map((name) => `CAP_${name}`)
  const seen = JSON.parse(readFileSync(SECCOMP_PROFILE, 'utf8')) as DockerProfile
  return { seccomp: JSON.stringify(toOciSeccomp(seen, process.arch, kept, { allowNamespaces: true })) }
}
