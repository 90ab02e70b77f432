// Brings an image into an OCI layout (skopeo) and unpacks it with the mapped range (umoci).

import { chmod, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { outputOf } from '../../lib/run-program.ts'
import { removeTree } from '../remove-tree.ts'
import { RuntimeError } from '../runtime/runtime.ts'
import { imageFailure } from './failure.ts'
import { followSize } from './follow-size.ts'
import { DEFAULT_PATH, ID_MAP, type ImageConfig } from './image.ts'
import type { Progress } from './shared-work.ts'

export type PullOptions = {
  /** Where the work is done; the unpacked root comes to lie in `{folder}/rootfs`. */
  folder: string
  auth?: { username: string; password: string }
  /** Speak to the registry without TLS. */
  insecure?: boolean
  /** The variables that name proxies. */
  env?: Record<string, string>
  /** Is told how far it is, in words for the caller of the API. */
  progress?: Progress
  signal: AbortSignal
  timeoutMs: number
}

/** Copies `source` (`docker://…`, `docker-archive:…`, `oci-archive:…`, `oci:…`) and unpacks it. Returns what the image says of running it. */
export async function pullImage(source: string, shownAs: string, options: PullOptions): Promise<ImageConfig> {
  const { folder, auth, signal, timeoutMs, progress = () => {} } = options
  const layout = join(folder, 'layout')
  const bundle = join(folder, 'bundle')
  const fromRegistry = source.startsWith('docker://')
  const args = ['copy', '--quiet', '--insecure-policy']
  if (options.insecure) args.push('--src-tls-verify=false')
  if (fromRegistry) args.push('--retry-times=1')
  if (auth) {
    // A file that only root reads; an argument could be read by every user of the machine.
    const file = join(folder, 'auth.json')
    await writeFile(file, authFile(source, auth), { mode: 0o600 })
    args.push('--src-authfile', file)
  }
  const verb = fromRegistry ? 'Pulling' : 'Reading'
  progress(`${verb} image "${shownAs}"`)
  const following = followSize(layout, signal, (told) => progress(`${verb} image "${shownAs}": ${told}`))
  try {
    await outputOf('skopeo', [...args, source, `oci:${layout}:image`], {
      signal,
      timeoutMs,
      env: { ...options.env, HOME: folder, TMPDIR: folder },
    })
  } catch (error) {
    throw imageFailure(error, failureOfPull(error), `Cannot pull image "${shownAs}"`)
  } finally {
    following.stop()
    await rm(join(folder, 'auth.json'), { force: true })
  }
  await checkPlatform(layout, shownAs, { signal, timeoutMs })
  progress(`Unpacking image "${shownAs}"`)
  const map = `0:${ID_MAP.hostId}:${ID_MAP.size}`
  try {
    await outputOf(
      'umoci',
      ['unpack', '--uid-map', map, '--gid-map', map, '--image', `${layout}:image`, bundle],
      { signal, timeoutMs, env: { HOME: folder, TMPDIR: folder } },
    )
  } catch (error) {
    throw imageFailure(error, 'image_pull_failed', `Cannot unpack image "${shownAs}"`)
  }
  const config = readBundleConfig(await readFile(join(bundle, 'config.json'), 'utf8'))
  await rename(join(bundle, 'rootfs'), join(folder, 'rootfs'))
  await chmod(join(folder, 'rootfs'), 0o755)
  await removeTree(layout)
  await removeTree(bundle)
  return config
}

/** What skopeo's complaint means for the caller. */
export function failureOfPull(
  error: unknown,
): 'image_not_found' | 'image_denied' | 'registry_failed' | 'image_pull_failed' {
  const text = error instanceof Error ? error.message : ''
  // A login that is refused, which some registries also say of what they do not have.
  if (/unauthorized|authentication required|denied|forbidden/i.test(text)) return 'image_denied'
  // Before what is not found, as names of hosts are not, either.
  if (
    /dial tcp|no such host|connection re(fused|set)|timeout|TLS|x509|server misbehaving|unexpected EOF|status:? 5\d\d/i.test(
      text,
    )
  )
    return 'registry_failed'
  if (/manifest unknown|name unknown|not found|no such file|repository does not exist/i.test(text))
    return 'image_not_found'
  return 'image_pull_failed'
}

/** The registry, `host[:port]`, of a reference as Docker reads it; `docker.io` when it names none. */
export function registryOf(reference: string): string {
  const first = reference.split('/')[0] ?? ''
  const named = reference.includes('/') && (/[.:]/.test(first) || first === 'localhost')
  return named ? first : 'docker.io'
}

const OCI_ARCHES: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', arm64: 'arm64' }

async function checkPlatform(
  layout: string,
  shownAs: string,
  options: { signal: AbortSignal; timeoutMs: number },
): Promise<void> {
  const found = JSON.parse(
    await outputOf('skopeo', ['inspect', '--config', `oci:${layout}:image`], options),
  ) as { architecture?: string; os?: string }
  const wanted = OCI_ARCHES[process.arch] ?? process.arch
  // A root file system that was imported elsewhere may say nothing.
  if (!found.architecture || found.architecture === wanted) return
  throw new RuntimeError(
    'platform_mismatch',
    `Image "${shownAs}" is for ${found.os}/${found.architecture}, but this machine is linux/${wanted}`,
  )
}

/** What umoci made of the image's configuration: the process part of an OCI runtime bundle. */
export function readBundleConfig(text: string): ImageConfig {
  const { process: wanted } = JSON.parse(text) as {
    process?: { env?: string[]; cwd?: string; user?: { uid?: number; gid?: number } }
  }
  const env = Object.fromEntries(
    (wanted?.env ?? []).flatMap((pair) => {
      const at = pair.indexOf('=')
      return at > 0 ? [[pair.slice(0, at), pair.slice(at + 1)]] : []
    }),
  )
  delete env.TERM // umoci's own addition
  if (env.HOME === '/root') delete env.HOME // likewise; execd knows the home of each user
  return {
    env: { PATH: DEFAULT_PATH, ...env },
    workdir: wanted?.cwd || '/',
    uid: wanted?.user?.uid ?? 0,
    gid: wanted?.user?.gid ?? 0,
  }
}

function authFile(source: string, { username, password }: { username: string; password: string }): string {
  const registry = registryOf(source.replace(/^docker:\/\//, ''))
  const auth = Buffer.from(`${username}:${password}`).toString('base64')
  const key = registry === 'docker.io' ? 'https://index.docker.io/v1/' : registry
  return JSON.stringify({ auths: { [key]: { auth }, [registry]: { auth } } })
}
