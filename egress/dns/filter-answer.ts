// What a sandbox may see of what a name server said. Pure.

import { isIPv4, isIPv6 } from 'node:net'
import type { Answer } from 'dns-packet'
import { canonicalAddress } from '../../lib/address6.ts'
import type { CompiledPolicy } from '../policy/compile.ts'
import { mayAnswer } from '../policy/decide.ts'
import { canonical } from './message.ts'
import { clampTtl, MAX_TTL_SECONDS, ttlOf } from './ttl.ts'

export type FilteredAnswer = {
  answers: Answer[]
  /** The names that it is an alias for, in the order in which they follow. */
  aliases: string[]
  /** The addresses that the sandbox will see. */
  addresses: string[]
  /** Addresses taken out because they are closed. */
  withheld: string[]
  /** Seconds, of the shortest-lived record. */
  ttl: number
}

/** A longer chain is nobody's in earnest; what is behind it is left out. */
const MAX_ALIASES = 16

/**
 * What a sandbox may see of an answer to `name`: records of the name itself and of the names that it is an alias for; of their
 * addresses those that are public, or that a range of the policy opens. A DNAME is left out, as the CNAME that follows from it
 * stands beside it (RFC 6672 3.1).
 */
export function filterAnswer(
  policy: CompiledPolicy,
  { name, type, answers }: { name: string; type: string; answers: readonly Answer[] },
): FilteredAnswer {
  // An alias may stand after its target's records.
  const targets = new Map<string, string>()
  for (const answer of answers)
    if (answer.type === 'CNAME') targets.set(canonical(answer.name), canonical(answer.data))
  const chain = new Set([name])
  for (let next = targets.get(name); next !== undefined && !chain.has(next); next = targets.get(next)) {
    if (chain.size > MAX_ALIASES) break
    chain.add(next)
  }
  const aliases = [...chain].slice(1)
  const result: FilteredAnswer = { answers: [], aliases, addresses: [], withheld: [], ttl: MAX_TTL_SECONDS }
  for (const answer of answers) {
    if (!chain.has(canonical(answer.name))) continue
    if (answer.type !== 'CNAME' && answer.type !== type) continue
    if (answer.type === 'A' || answer.type === 'AAAA') {
      const isAddress = answer.type === 'A' ? isIPv4(answer.data) : isIPv6(answer.data)
      if (!isAddress || !mayAnswer(policy, answer.data)) {
        result.withheld.push(answer.data)
        continue
      }
      result.addresses.push(canonicalAddress(answer.data))
    }
    result.answers.push(answer)
    result.ttl = Math.min(result.ttl, clampTtl(ttlOf(answer)))
  }
  return result
}
