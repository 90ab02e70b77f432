import type { PullPolicy } from '../../../../lib/api/images.ts'
import type { Ledger } from '../../../image/ledger.ts'
import { formatReference, type Reference } from '../../../image/reference.ts'
import { policyOf } from '../../../image/resolve.ts'
import type { ImageRequest } from '../../images.ts'
import type { Engine } from '../engine.ts'
import { type DockerImage, inspectImage } from './inspect.ts'
import { isInternal } from './names.ts'

export type BuiltDeps = {
  engine: Engine
  ledger: Ledger
  aliases: Record<string, string>
  policy: PullPolicy
}

/**
 * What has this tag in the daemon and came from no registry: the operator has built or imported it, or gives it a name in the
 * configuration.
 */
export async function findBuilt(
  { engine, ledger, aliases, policy }: BuiltDeps,
  { reference, request }: { reference: Reference; request: ImageRequest & { isShared?: boolean } },
  signal: AbortSignal,
): Promise<DockerImage | undefined> {
  // Snapshots of all tenants, and what was pulled by a login, lie under such names.
  if (reference.tag === undefined || isInternal(reference)) return undefined
  const name = formatReference(reference)
  if (policyOf(request, policy) === 'Always' || ledger.find(name).shared) return undefined
  const found = await inspectImage(engine, name, signal)
  const isNamed = Object.hasOwn(aliases, request.uri)
  return found && (found.digests.length === 0 || isNamed || request.isShared) ? found : undefined
}
