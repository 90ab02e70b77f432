// Why a sandbox may reach something or not, by the same decisions that are made when it tries.

import { isIP, isIPv6 } from 'node:net'
import { canonicalAddress } from '../lib/address6.ts'
import { parseName } from '../lib/api/network-policy.ts'
import type { Endpoint } from '../lib/api/rule-scope.ts'
import { ApiError } from '../lib/errors.ts'
import type { RefusedPacket } from './nft/refused-element.ts'
import { translatedOf } from './policy/addresses6.ts'
import { type Decision, decideAddress, decideWithout6, mustBeNamed } from './policy/decide.ts'
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

/** Explains what is decided about a name or an address, at an endpoint or at any. Throws 400 for anything else. */
export function explain(
  sandboxes: Pick<Sandboxes, 'decide'>,
  sandbox: Sandbox,
  { target: text, endpoint }: { target: string; endpoint?: Endpoint },
): Explanation {
  const target = canonicalAddress(text.trim())
  const asked = endpoint ?? {}
  if (isIPv6(target) && sandbox.address6 === undefined)
    return { target, kind: 'address', ...asked, ...decideWithout6(target), learned: false }
  if (isIP(target) !== 0) {
    const learned = sandbox.learned.has(target)
    const isOpenByName = learned && (endpoint === undefined || endpoint.protocol === 'tcp')
    const decision = decideAddress(sandbox.policy, target, {
      learned: isOpenByName,
      ...(endpoint && { endpoint }),
    })
    return { target, kind: 'address', ...asked, ...decision, ...formatTranslated(target, decision), learned }
  }
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
  { policy, credentialProxy = false }: Sandbox,
  { set, address, protocol, port = 0 }: RefusedPacket,
): string | undefined {
  if (set === 'frames') return decideWithout6(address).reason
  if (set !== 'refused' || protocol === undefined) return undefined
  if (port === DNS_OVER_TLS_PORT) return 'DNS over TLS is closed: egress itself answers for names'
  const { action, reason } = decideAddress(policy, address, { learned: false, endpoint: { protocol, port } })
  if (action === 'deny') return reason
  if (isIPv6(address))
    return 'a header of it, its way, or a connection that is not its own is closed whatever the policy says'
  if (credentialProxy || mustBeNamed(policy, { address, port, readPorts: [] })) return undefined
  return 'another sandbox, the host, or part of a connection that is not its own: closed whatever the policy says'
}

/** For an address that a translator leads elsewhere from, where. */
function formatTranslated(target: string, { reason }: Decision): { reason?: string } {
  const translated = isIPv6(target) ? translatedOf(target) : undefined
  if (!translated || reason.includes(translated.inside)) return {}
  return { reason: `${reason} (${translated.kind} ${translated.inside})` }
}
