// Bindings and policies hold together (contract: egress.md 6.3): a secret may go only where a rule of the policy says by name that the
// sandbox may go. A default that allows everything names nobody.

import { decideName } from '../policy/decide.ts'
import { type Vault, vaultProblem } from './vault.ts'

type Policy = Parameters<typeof decideName>[0]

/** Stands for any label of a host that is given as a pattern. */
const ANY_LABEL = 'any-name-below'

/** Throws 400 when a host of a binding is not allowed by a rule. */
export function requireCovered(vault: Vault, policy: Policy): void {
  for (const { name, match } of vault.bindings.values())
    for (const host of match.hosts)
      if (!isCovered(host, policy))
        throw vaultProblem(
          `binding ${JSON.stringify(name)} needs an allow rule for "${host}" in explicit networkPolicy.egress: ${policy.rules.length === 0 ? 'the policy has no rules' : 'the rules do not allow it by name'}`,
        )
}

function isCovered(host: string, policy: Policy): boolean {
  const { action, rule } = decideName(policy, host.startsWith('*.') ? `${ANY_LABEL}${host.slice(1)}` : host)
  return action === 'allow' && rule !== undefined
}
