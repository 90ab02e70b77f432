// What a request means: a file of this machine, an image that is here and may be used, or one that is to be brought by its digest. The
// same for all runtimes; what differs between them is how a registry is asked and where contents lie.

import { isAbsolute } from 'node:path'
import type { PullPolicy } from '../../lib/api/images.ts'
import type { ImageRequest } from '../runtime/images.ts'
import { RuntimeError } from '../runtime/runtime.ts'
import { decideFetch } from './decide.ts'
import type { Content, Ledger } from './ledger.ts'
import { formatReference, parseReference, type Reference } from './reference.ts'
import type { RegistryGuard } from './registry-guard.ts'

export type Target =
  | { kind: 'host' }
  | { kind: 'archive'; path: string }
  | { kind: 'registry'; reference: Reference }

/** What an alias, or a reference, stands for. Throws RuntimeError when it can be neither. */
export function targetOf(uri: string, aliases: Record<string, string>): Target {
  // An image may have the name of something that every object has.
  const target = (Object.hasOwn(aliases, uri) ? aliases[uri] : undefined) ?? uri
  if (target === 'host') return { kind: 'host' }
  // Only the operator's configuration names files of this machine; a client's reference never does.
  if (target !== uri && isAbsolute(target)) return { kind: 'archive', path: target }
  const parsed = parseReference(target)
  if ('reference' in parsed) return { kind: 'registry', reference: parsed.reference }
  throw new RuntimeError(
    'image_not_found',
    `There is no image "${uri.slice(0, 200)}": it is neither an alias of the configuration nor a reference such as "registry.example/name:tag" (${parsed.problem})`,
  )
}

/** The policy of a request: its own, unless the configuration forbids to ask anybody. */
export function policyOf({ policy }: ImageRequest, configured: PullPolicy): PullPolicy {
  return configured === 'Never' ? 'Never' : (policy ?? configured)
}

export type ResolveDeps = {
  ledger: Ledger
  /** For requests that name none; `Never` is for all. */
  policy: PullPolicy
  isPresent: (id: string) => boolean | Promise<boolean>
  /** Rejects when the registry is not to be asked. */
  guard: RegistryGuard
  /** What a registry calls the content of a reference for this login. */
  ask: (reference: Reference, request: ImageRequest, signal: AbortSignal) => Promise<string>
}

export type PinnedReference = Reference & { digest: string }

export type Resolution =
  | { action: 'use'; content: Content }
  /** The registry has let the caller in. To be noted once it is here. */
  | { action: 'bring'; reference: PinnedReference; note: (id: string) => Promise<void> }

/** Decides what a request gets of a reference. Rejects with RuntimeError, or the signal's reason. */
export async function resolveReference(
  deps: ResolveDeps,
  { reference, request }: { reference: Reference; request: ImageRequest & { isShared?: boolean } },
  signal: AbortSignal,
): Promise<Resolution> {
  const { ledger, ask } = deps
  const name = formatReference(reference)
  const policy = policyOf(request, deps.policy)
  const known = ledger.find(name)
  const [shared, guarded] = await Promise.all([present(deps, known.shared), present(deps, known.guarded)])
  const decision = decideFetch(
    { ...(shared && { shared }), ...(guarded && { guarded }) },
    { policy, hasLogin: request.auth !== undefined },
  )
  if (decision.action === 'refuse')
    throw new RuntimeError('image_not_found', `Image "${request.uri}" cannot be used: ${decision.reason}`)
  if (decision.action === 'use') return { action: 'use', content: decision.found }
  await deps.guard({ reference, request }, signal)
  let digest = await ask(reference, request, signal)
  const kept = decision.keep?.digest
  if (kept !== undefined && kept !== digest) {
    // The tag has moved on. What is here is for who may have it, and not for who may have only what came after it.
    const { registry, repository } = reference
    const may = await ask({ registry, repository, digest: kept }, request, signal).then(
      () => true,
      () => false,
    )
    signal.throwIfAborted()
    if (may) digest = kept
  }
  const isShared = request.auth === undefined || request.isShared === true
  return {
    action: 'bring',
    reference: { registry: reference.registry, repository: reference.repository, digest },
    note: (id) => ledger.note(name, { id, digest }, isShared),
  }
}

async function present(
  { isPresent }: ResolveDeps,
  content: Content | undefined,
): Promise<Content | undefined> {
  return content && (await isPresent(content.id)) ? content : undefined
}
