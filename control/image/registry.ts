// Asks a registry what a reference stands for now, which shows at the same time whether it lets the caller have it.

import { createHash } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { removeTree } from '../remove-tree.ts'
import type { ImageAuth } from '../runtime/images.ts'
import { RuntimeError } from '../runtime/runtime.ts'
import { imageFailure, isNoSpace } from './failure.ts'
import { withLogin } from './login.ts'
import { formatReference, type Reference } from './reference.ts'
import { toolOutput } from './tool.ts'

export type RegistryQuestion = {
  reference: Reference
  shownAs: string
  auth?: ImageAuth
  /** Speak to the registry without TLS. */
  isInsecure: boolean
  /** The variables that name proxies. */
  env?: Record<string, string>
  /** In which a directory of its own is made. */
  folder: string
  signal: AbortSignal
  timeoutMs: number
}

/** The digest that a registry gives a reference. Rejects with RuntimeError, or the signal's reason. */
export async function askDigest(question: RegistryQuestion): Promise<string> {
  const { reference, shownAs, auth, signal, timeoutMs, env } = question
  const folder = await mkdtemp(join(question.folder, '.ask-'))
  const ask = (login: string[]) =>
    toolOutput(
      'skopeo',
      [
        'inspect',
        '--raw',
        `--tls-verify=${!question.isInsecure}`,
        ...login,
        `docker://${formatReference(reference)}`,
      ],
      { signal, timeoutMs, env: { ...env, HOME: folder, TMPDIR: folder } },
    )
  try {
    const manifest = auth
      ? await withLogin({ folder, registry: reference.registry, auth }, (path) => ask(['--authfile', path]))
      : // The machine's own logins are not the caller's.
        await ask(['--no-creds'])
    const digest = `sha256:${createHash('sha256').update(manifest).digest('hex')}`
    if (reference.digest !== undefined && digest !== reference.digest)
      throw new RuntimeError(
        'registry_failed',
        `Cannot pull image "${shownAs}": the registry answered ${digest} in the place of ${reference.digest}`,
      )
    return digest
  } catch (error) {
    signal.throwIfAborted()
    throw imageFailure(error, failureOfPull(error), `Cannot pull image "${shownAs}"`)
  } finally {
    await removeTree(folder)
  }
}

const FAULTS_OF_REGISTRIES = [
  /dial tcp|no such host|connection re(fused|set)|timeout|did not end within|\bEOF\b|server misbehaving/i,
  /\bTLS\b|x509|gave HTTP response to HTTPS/i,
  /status:? ?(code)?( from registry)?:? ?(5\d\d|429)|too many requests/i,
  // What came is not what was announced.
  /digest did not match|does not match|invalid character|unsupported manifest|exceeded maximum allowed size/i,
]

/** What skopeo's complaint means for the caller. */
export function failureOfPull(
  error: unknown,
): 'image_not_found' | 'image_denied' | 'registry_failed' | 'image_pull_failed' | 'platform_mismatch' {
  if (isNoSpace(error)) return 'image_pull_failed'
  const text = error instanceof Error ? error.message : ''
  // A login that is refused, which some registries also say of what they do not have.
  if (
    /unauthorized|authentication required|denied|forbidden|no basic auth credentials|invalid username\/password/i.test(
      text,
    )
  )
    return 'image_denied'
  // Before what is not found, as names of hosts are not, either.
  if (FAULTS_OF_REGISTRIES.some((pattern) => pattern.test(text))) return 'registry_failed'
  if (/no image found in (manifest list|image index) for architecture/i.test(text)) return 'platform_mismatch'
  if (/manifest unknown|name unknown|not found|no such file|repository does not exist/i.test(text))
    return 'image_not_found'
  return 'image_pull_failed'
}
