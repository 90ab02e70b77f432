// Whether a connection may be for the server that its client names: the policy allows the name, the address was answered for it,
// and no rule closes the address itself. Asked for each name as it comes, as the policy may have changed since the connection was opened.

import { canonicalAddress } from '../../lib/address6.ts'
import { parseName } from '../../lib/api/network-policy.ts'
import { type Decision, decideAddress } from '../policy/decide.ts'
import type { Sandbox } from '../sandbox-table.ts'
import type { Sandboxes } from '../sandboxes.ts'

export type ServerDecision = {
  /** In canonical form, as soon as it is a name. */
  name?: string
  /** What the policy says of the name. */
  decision?: Decision
  /** Absent when the connection may go on. */
  problem?: string
}

export function decideServer(
  sandboxes: Pick<Sandboxes, 'decide'>,
  sandbox: Sandbox,
  { address, port, text }: { address: string; port: number; text: string },
): ServerDecision {
  const endpoint = { protocol: 'tcp', port }
  const isOpen = sandbox.policy.policy.defaultAction === 'allow'
  // Where everything is open that is not denied, an address may stand for itself.
  if (isOpen && canonicalAddress(text) === address) {
    const byAddress = decideAddress(sandbox.policy, address, { learned: true, endpoint })
    return byAddress.action === 'deny'
      ? { decision: byAddress, problem: byAddress.reason }
      : { decision: byAddress }
  }
  const parsed = parseName(text)
  if ('problem' in parsed) return { problem: `the name that it asks for ${parsed.problem}` }
  const { name } = parsed
  const decision = sandboxes.decide(sandbox, name, endpoint)
  const asked = { name, decision }
  if (decision.action === 'deny')
    return { ...asked, problem: `the name that it asks for is denied: ${decision.reason}` }
  if (!isOpen && !sandbox.learned.leads(name, address))
    return { ...asked, problem: 'its address is none that was answered for the name that it asks for' }
  const byAddress = decideAddress(sandbox.policy, address, { learned: true, endpoint })
  return byAddress.action === 'deny' ? { ...asked, problem: byAddress.reason } : asked
}
