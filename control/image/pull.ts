// Brings an image into an OCI layout (skopeo) and unpacks it with the mapped range (umoci).

import { chmod, mkdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { removeTree } from '../remove-tree.ts'
import type { ImageAuth } from '../runtime/images.ts'
import { RuntimeError } from '../runtime/runtime.ts'
import { imageFailure } from './failure.ts'
import { followSize } from './follow-size.ts'
import { DEFAULT_PATH, ID_MAP, type ImageConfig } from './image.ts'
import { withLogin } from './login.ts'
import { requirePlatform } from './platform.ts'
import { failureOfPull } from './registry.ts'
import type { Progress } from './shared-work.ts'
import { withinSpace } from './space.ts'
import { sweepRoot } from './sweep.ts'
import { toolOutput } from './tool.ts'

/** A registry that has sent nothing for so long sends nothing more. */
const STALL_MS = 60_000

/** Where an image comes from, as skopeo names it. */
export type PullSource =
  | { kind: 'registry'; reference: string; registry: string; auth?: ImageAuth; isInsecure: boolean }
  | { kind: 'oci' | 'oci-archive' | 'docker-archive'; path: string }

export type PullOptions = {
  /** Where the work is done; the unpacked root comes to lie in `{folder}/rootfs`. */
  folder: string
  shownAs: string
  /** The most that it may take on the disk. */
  maxBytes: number
  /** The variables that name proxies. */
  env?: Record<string, string>
  /** Is told how far it is, in words for the caller of the API. */
  progress?: Progress
  signal: AbortSignal
  timeoutMs: number
  stallMs?: number
}

export type Pulled = { config: ImageConfig; digest: string; sizeBytes: number }

/** Copies an image and unpacks it. Returns what it says of running it. */
export async function pullImage(source: PullSource, options: PullOptions): Promise<Pulled> {
  const { folder, shownAs, maxBytes, signal, timeoutMs, progress = () => {} } = options
  const layout = join(folder, 'layout')
  const bundle = join(folder, 'bundle')
  const tool = { timeoutMs, env: { ...options.env, HOME: folder, TMPDIR: folder } }
  await withinSpace(folder, { maxBytes, shownAs }, signal, (bound) =>
    copyToLayout(source, layout, { ...options, signal: bound }),
  )
  await checkPlatform(layout, shownAs, { ...tool, signal })
  progress(`Unpacking image "${shownAs}"`)
  const map = `0:${ID_MAP.hostId}:${ID_MAP.size}`
  const args = ['unpack', '--uid-map', map, '--gid-map', map, '--image', `${layout}:image`, bundle]
  try {
    await mkdir(bundle, { mode: 0o700 })
    const { usage } = await withinSpace(bundle, { maxBytes, shownAs }, signal, async (bound) => {
      await toolOutput('umoci', args, { ...tool, signal: bound })
      await sweepRoot(join(bundle, 'rootfs'), { signal: bound, timeoutMs })
    })
    const config = readBundleConfig(await readFile(join(bundle, 'config.json'), 'utf8'))
    const digest = readLayoutDigest(await readFile(join(layout, 'index.json'), 'utf8'))
    await rename(join(bundle, 'rootfs'), join(folder, 'rootfs'))
    await chmod(join(folder, 'rootfs'), 0o755)
    await removeTree(layout)
    await removeTree(bundle)
    return { config, digest, sizeBytes: usage.bytes }
  } catch (error) {
    signal.throwIfAborted()
    throw imageFailure(error, 'image_pull_failed', `Cannot unpack image "${shownAs}"`)
  }
}

async function copyToLayout(source: PullSource, layout: string, options: PullOptions): Promise<void> {
  const { folder, shownAs, signal, timeoutMs, env, progress = () => {}, stallMs = STALL_MS } = options
  const verb = source.kind === 'registry' ? 'Pulling' : 'Reading'
  progress(`${verb} image "${shownAs}"`)
  const stalled = new AbortController()
  const following = followSize(layout, {
    signal,
    progress: (told) => progress(`${verb} image "${shownAs}": ${told}`),
    ...(source.kind === 'registry' && {
      stall: {
        afterMs: stallMs,
        tell: () =>
          stalled.abort(
            new RuntimeError(
              'registry_failed',
              `Cannot pull image "${shownAs}": its registry has sent nothing for ${stallMs / 1000} seconds`,
            ),
          ),
      },
    }),
  })
  const copy = (from: string[]) =>
    toolOutput('skopeo', ['copy', '--quiet', '--insecure-policy', ...from, `oci:${layout}:image`], {
      signal: AbortSignal.any([signal, stalled.signal]),
      timeoutMs,
      env: { ...env, HOME: folder, TMPDIR: folder },
    })
  try {
    if (source.kind !== 'registry') await copy([`${source.kind}:${source.path}`])
    else {
      const { reference, registry, auth, isInsecure } = source
      const from = [`--src-tls-verify=${!isInsecure}`, '--retry-times=1']
      const name = `docker://${reference}`
      if (auth)
        await withLogin({ folder, registry, auth }, (path) => copy([...from, '--src-authfile', path, name]))
      // The machine's own logins are not the caller's.
      else await copy([...from, '--src-no-creds', name])
    }
  } catch (error) {
    signal.throwIfAborted()
    throw imageFailure(error, failureOfPull(error), `Cannot pull image "${shownAs}"`)
  } finally {
    following.stop()
  }
}

async function checkPlatform(
  layout: string,
  shownAs: string,
  options: { signal: AbortSignal; timeoutMs: number; env: Record<string, string> },
): Promise<void> {
  const found = JSON.parse(
    await toolOutput('skopeo', ['inspect', '--config', `oci:${layout}:image`], options),
  ) as { architecture?: string; os?: string }
  requirePlatform({ os: found.os ?? '', arch: found.architecture ?? '' }, shownAs)
}

/** The digest of the one manifest in a layout. */
function readLayoutDigest(index: string): string {
  const { manifests } = JSON.parse(index) as { manifests: { digest: string }[] }
  return manifests[0]?.digest ?? ''
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
