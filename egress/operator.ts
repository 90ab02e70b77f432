// What the operator says of all sandboxes, now.

import { isDeepStrictEqual } from 'node:util'
import type { NetworkPolicy } from '../lib/api/network-policy.ts'
import type { Logger } from '../lib/log.ts'
import type { RuleSets } from '../lib/rule-sets.ts'
import { type CompiledPolicy, compilePolicy, type Floor, namesSets } from './policy/compile.ts'
import type { Sandbox } from './sandbox-table.ts'

export type OperatorRules = {
  /** For sandboxes without a policy of their own. */
  defaultPolicy: NetworkPolicy
  /** What stands before the rules of every policy. */
  floor: Floor
  /** What rules may name as `set:…`. */
  sets: RuleSets
}

export class Operator {
  readonly #log: Logger
  #rules: OperatorRules

  constructor(rules: OperatorRules, log: Logger) {
    this.#rules = rules
    this.#log = log
  }

  get rules(): OperatorRules {
    return this.#rules
  }

  /** Takes others, and gives whether a sandbox is concerned by that. */
  change(rules: OperatorRules): (sandbox: Sandbox) => boolean {
    const isFloorOther = !isDeepStrictEqual(rules.floor, this.#rules.floor)
    const areSetsOther = !isDeepStrictEqual(rules.sets, this.#rules.sets)
    this.#rules = rules
    return ({ isDefault, policy }) => isDefault || isFloorOther || (areSetsOther && namesSets(policy.policy))
  }

  /** The policy of a sandbox, or the default, made ready to be asked. */
  compile(policy: NetworkPolicy | undefined, id: string): CompiledPolicy {
    const { defaultPolicy, floor, sets } = this.#rules
    const compiled = compilePolicy(policy ?? defaultPolicy, floor, sets)
    if (compiled.missingSets.length > 0)
      this.#log.warn('a policy names sets that are not there: they open nothing', {
        sandbox: id,
        sets: compiled.missingSets.join(', '),
      })
    return compiled
  }
}
