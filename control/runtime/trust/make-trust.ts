// Has a sandbox trust egress's authority for it, before it is started: without it nothing of the sandbox is made, as programs that
// cannot reach anything, or are told to trust nobody, help no one.

import type { EgressClient } from '../../egress-client.ts'
import { RuntimeError, type RuntimeSpec } from '../runtime.ts'
import { type Bundle, type TrustMount, writeTrustFiles } from './trust-files.ts'

/** Makes the files for a sandbox whose requests may be read, and tells what to mount; nothing for others. */
export async function makeTrust(
  {
    egress,
    folder,
    bundles,
  }: { egress: EgressClient; folder: string; bundles: () => Bundle[] | Promise<Bundle[]> },
  spec: Pick<RuntimeSpec, 'id' | 'credentialProxy' | 'mounts' | 'volumes'>,
  signal: AbortSignal,
): Promise<TrustMount[]> {
  if (!spec.credentialProxy) return []
  const authority = await egress.authority(spec.id, signal).catch((error) => {
    signal.throwIfAborted()
    throw new RuntimeError('start_failed', 'The authority that the sandbox is to trust cannot be made', {
      cause: error,
    })
  })
  const targets = [...spec.mounts, ...(spec.volumes ?? [])].map(({ target }) => target)
  // What lies in a place of the user's is the user's.
  const isOfImage = ({ path }: Bundle) =>
    !targets.some((target) => path === target || path.startsWith(`${target}/`))
  const ofImage = (await bundles()).filter(isOfImage)
  return await writeTrustFiles({ folder, authority, bundles: ofImage, now: Date.now() })
}
