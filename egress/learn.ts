// Opens the addresses that a name led a sandbox to, before the answer reaches it.

import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { Nft } from './nft/apply.ts'
import { type BaseRules, formatLearn } from './nft/rules.ts'
import type { Sandbox } from './sandbox-table.ts'

export type LearnDeps = { nft: Pick<Nft, 'apply'>; base: BaseRules; log: Logger; now: () => number }
export type Found = { name: string; addresses: readonly string[]; ttl: number; aliases: readonly string[] }

/** Resolves to true once the kernel lets the addresses through; false when it refused, or when there are too many. */
export async function learn(
  { nft, base, log, now }: LearnDeps,
  sandbox: Sandbox,
  { name, addresses, ttl, aliases }: Found,
): Promise<boolean> {
  const { id, learned, policy, coming } = sandbox
  const plan = learned.note(name, addresses, ttl, now(), aliases)
  if (!plan) {
    log.warn('a sandbox has learned too many addresses', { sandbox: id, name })
    return false
  }
  const needed = policy.policy.defaultAction === 'deny' || coming?.policy.defaultAction === 'deny'
  if (!needed) return true
  try {
    if (plan.elements.length > 0) {
      const applied = nft.apply(formatLearn(base, id, plan.elements))
      learned.applying(plan.elements, applied)
      await applied
    }
    await Promise.all(plan.underWay)
    return true
  } catch (error) {
    log.error('cannot open the addresses of a name', { sandbox: id, name, error: messageOf(error) })
    return false
  }
}
