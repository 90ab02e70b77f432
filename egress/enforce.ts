// Puts a policy in force: the kernel first, then the file, then what is answered from, and at last what is relayed and may not go on.

import type { Flow, Flows } from './connections/flows.ts'
import type { Nft } from './nft/apply.ts'
import { formatPolicy } from './nft/policy-rules.ts'
import type { BaseRules, SandboxRules } from './nft/rules.ts'
import type { CompiledPolicy } from './policy/compile.ts'
import { decideAddress, decideName, isAliasDenied, mustBeNamed } from './policy/decide.ts'
import type { SandboxFiles } from './sandbox-files.ts'
import type { Sandbox } from './sandbox-table.ts'

export type EnforceDeps = {
  nft: Pick<Nft, 'apply'>
  base: BaseRules
  files: Pick<SandboxFiles, 'prepare'>
  flows: Pick<Flows, 'retain'>
  rulesOf: (sandbox: Sandbox) => SandboxRules
  /** What is answered from is this sandbox from now on. */
  replace: (before: Sandbox, after: Sandbox) => void
}

/** Nothing changes when the kernel refuses. A default policy is in no file. */
export async function enforce(
  { nft, base, files, flows, rulesOf, replace }: EnforceDeps,
  sandbox: Sandbox,
  { policy, isDefault }: { policy: CompiledPolicy; isDefault: boolean },
): Promise<void> {
  const { id, address, interface: name, token, tenant, credentialProxy, learned } = sandbox
  const own = {
    id,
    address,
    interface: name,
    token,
    ...(tenant !== undefined && { tenant }),
    ...(credentialProxy && { credentialProxy }),
  }
  const file = isDefault ? undefined : files.prepare({ ...own, policy: policy.policy })
  sandbox.coming = policy
  learned.retain((used, aliases) => decideName(policy, used).action === 'allow' && mayLead(policy, aliases))
  try {
    const rules = rulesOf({ ...sandbox, policy })
    const applied = nft.apply(formatPolicy(base, rules))
    learned.applying(rules.learned, applied)
    await applied
    file?.commit()
    replace(sandbox, { ...sandbox, isDefault, policy, coming: undefined })
    flows.retain(id, (flow) => mayGoOn(flow, sandbox, rules))
  } catch (error) {
    file?.discard()
    throw error
  } finally {
    sandbox.coming = undefined
  }
}

/** Whether a policy would give away the addresses of an allowed name that was an alias for these. */
function mayLead(policy: CompiledPolicy, aliases: Iterable<string>): boolean {
  for (const alias of aliases) if (isAliasDenied(decideName(policy, alias))) return false
  return true
}

/** Whether a policy would let a connection begin that is under way. */
function mayGoOn(
  { names, aliases, address, port, isByAddress }: Flow,
  { policy: before, learned }: Sandbox,
  { policy, readPorts = [] }: SandboxRules,
): boolean {
  const endpoint = { protocol: 'tcp', port }
  if (decideAddress(policy, address, { learned: !isByAddress, endpoint }).action === 'deny') return false
  // Nobody looks into what goes by the address.
  if (isByAddress && mustBeNamed(policy, { address, port, readPorts })) return false
  if (!mayLead(policy, aliases)) return false
  // While everything was open, nobody asked whether the address was one of the name.
  const mustLead = before.policy.defaultAction === 'allow' && policy.policy.defaultAction === 'deny'
  return [...names].every(
    (name) =>
      decideName(policy, name, endpoint).action === 'allow' &&
      (!mustLead || isByAddress || learned.leads(name, address)),
  )
}
