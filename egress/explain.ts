// Why a sandbox may reach something or not, by the same decisions that are made when it tries.

import { isIPv4, isIPv6 } from 'node:net'
import { parseName } from '../lib/api/network-policy.ts'
import type { Endpoint } from '../lib/api/rule-scope.ts'
import { ApiError } from '../lib/errors.ts'
import type { RefusedPacket } from './nft/refused.ts'
import { type Decision, decideAddress, decideWithout6 } from './policy/decide.ts'
import type { Sandbox } from './sandbox-table.ts'
import type { Sandboxes } from './sandboxes.ts'

const DNS_OVER_TLS_PORT = 853

export type Explanation = Decision & {
  target: string
  kind: 'name' | 'address'
  /** What was asked about, when it was one endpoint only. */
  protocol?: string
  port?: number
  /** Of an address: whether it was answered for an allowed name, by which TLS and HTTP connections to it open. */
  learned?: boolean
}

/** Explains what is decided about a name or an IPv4 address, at an endpoint or at any. Throws 400 for anything else. */
export function explain(
  sandboxes: Pick<Sandboxes, 'decide'>,
  sandbox: Sandbox,
  { target: text, endpoint }: { target: string; endpoint?: Endpoint },
): Explanation {
  const target = text.trim()
  const asked = endpoint ?? {}
  if (isIPv4(target)) {
    const learned = sandbox.learned.has(target)
    const isOpenByName = learned && (endpoint === undefined || endpoint.protocol === 'tcp')
    const decision = decideAddress(sandbox.policy, target, {
      learned: isOpenByName,
      ...(endpoint && { endpoint }),
    })
    return { target, kind: 'address', ...asked, ...decision, learned }
  }
  if (isIPv6(target)) return { target, kind: 'address', ...asked, ...decideWithout6(target), learned: false }
  const parsed = parseName(target)
  if ('problem' in parsed)
    throw new ApiError(
      400,
      'INVALID_TARGET',
      `target must be a host name or an IP address, but ${JSON.stringify(target.slice(0, 80))} ${parsed.problem}`,
    )
  if (endpoint && endpoint.protocol !== 'tcp')
    return {
      target: parsed.name,
      kind: 'name',
      ...asked,
      action: 'deny',
      reason: 'names open TCP only; a rule for the address opens other protocols',
    }
  return { target: parsed.name, kind: 'name', ...asked, ...sandboxes.decide(sandbox, parsed.name, endpoint) }
}

/** Why the kernel has refused a packet, when the policy in force says so; otherwise it is for what its set stands for. */
export function explainPacket(
  { policy }: Sandbox,
  { set, address, protocol, port = 0 }: RefusedPacket,
): string | undefined {
  if (set !== 'refused' || protocol === undefined || !isIPv4(address)) return undefined
  if (port === DNS_OVER_TLS_PORT) return 'DNS over TLS is closed: egress itself answers for names'
  const { action, reason } = decideAddress(policy, address, { learned: false, endpoint: { protocol, port } })
  return action === 'deny' ? reason : undefined
}
