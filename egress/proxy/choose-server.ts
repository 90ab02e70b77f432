// Where a connection through the proxy goes, by the same decisions as one that a sandbox makes itself. The packets leave from the host,
// so the kernel's rules for those of sandboxes do not see them: what these close for everyone is closed here too.

import { isIPv4, isIPv6 } from 'node:net'
import { parseName } from '../../lib/api/network-policy.ts'
import type { Resolver } from '../dns/resolve.ts'
import { covers, type Range } from '../policy/addresses.ts'
import { decideAddress, mustBeNamed } from '../policy/decide.ts'
import type { Sandbox } from '../sandbox-table.ts'
import type { Sandboxes } from '../sandboxes.ts'
import type { Asked, RefusalKind } from './asked.ts'

export type ChooseOptions = {
  sandboxes: Pick<Sandboxes, 'get' | 'decide'>
  resolve: Resolver
  /** The addresses of all sandboxes, and the gateway's. */
  subnet: Range
  /** The addresses that are this machine's own. */
  isOwn: (address: string) => boolean
  /** Where requests are read, of sandboxes that trust who reads them. */
  readPorts: readonly number[]
}

export type Chosen = {
  address: string
  port: number
  /** Canonical; absent when an address was asked for. */
  name?: string
  /** A rule opens the address itself, so what is spoken there is nobody's business. */
  isOpen: boolean
}
export type NotChosen = { kind: RefusalKind; problem: string; name?: string; rule?: string }

/** Names are asked for from egress, and this is a way around it. */
const DNS_PORTS = [53, 853]
/** On every machine they lead to itself. */
const ITSELF: readonly Range[] = [
  { first: 0, last: 0x00ff_ffff },
  { first: 0x7f00_0000, last: 0x7fff_ffff },
]

export async function chooseServer(
  options: ChooseOptions,
  id: string,
  { host, port }: Pick<Asked, 'host' | 'port'>,
): Promise<Chosen | NotChosen> {
  const { sandboxes, resolve } = options
  const before = sandboxes.get(id)
  if (!before) return denied('its sandbox is gone')
  if (DNS_PORTS.includes(port)) return denied(`port ${port} is closed: egress itself answers for names`)
  if (isIPv6(host)) return denied('the proxy leads to no IPv6 address')
  if (isIPv4(host)) return judgeAddress(options, before, { address: host, port })
  const parsed = parseName(host)
  if ('problem' in parsed)
    return {
      kind: 'malformed',
      problem: `the name that it asks for ${parsed.problem}: ${JSON.stringify(host.slice(0, 253))}`,
    }
  const { name } = parsed
  const decision = sandboxes.decide(before, name, { protocol: 'tcp', port })
  if (decision.action === 'deny')
    return {
      ...denied(`the name that it asks for is denied: ${decision.reason}`),
      name,
      ...(decision.rule !== undefined && { rule: decision.rule }),
    }
  const { addresses, blocked } = await resolve(before, { name, type: 'A' })
  if (blocked !== undefined) return { ...denied(blocked), name }
  const [first] = addresses
  if (first === undefined) return { kind: 'unresolved', problem: `no address was found for ${name}`, name }
  // While the name was asked for, the policy may have changed.
  const sandbox = sandboxes.get(id)
  if (!sandbox) return denied('its sandbox is gone')
  const judged = addresses.map((address) => judgeAddress(options, sandbox, { address, port, name }))
  return judged.find((each) => 'isOpen' in each) ?? judged[0] ?? denied('no address of the name is open')
}

function judgeAddress(
  { subnet, isOwn, readPorts }: ChooseOptions,
  sandbox: Sandbox,
  to: { address: string; port: number; name?: string },
): Chosen | NotChosen {
  const { address, port, name } = to
  const named = name === undefined ? {} : { name }
  if (covers([subnet], address)) return { ...denied('the addresses of sandboxes are closed'), ...named }
  if (covers(ITSELF, address)) return { ...denied('the address leads to this machine itself'), ...named }
  const endpoint = { protocol: 'tcp', port }
  const policies = sandbox.coming ? [sandbox.policy, sandbox.coming] : [sandbox.policy]
  let isOpen = true
  for (const policy of policies) {
    // The host's own addresses are opened by a rule that names one alone, never by a range that happens to hold it.
    if (
      isOwn(address) &&
      !policy.layers.some(({ action, hosts }) => action === 'allow' && covers(hosts, address))
    )
      return { ...denied('the address is this machine itself, and no rule names it alone'), ...named }
    const byAddress = decideAddress(policy, address, { learned: false, endpoint })
    if (byAddress.action === 'allow') {
      if (mustBeNamed(policy, { address, port, readPorts: sandbox.credentialProxy ? readPorts : [] }))
        isOpen = false
      continue
    }
    isOpen = false
    if (name === undefined || !sandbox.learned.leads(name, address))
      return { ...denied(byAddress.reason), ...named }
    const byName = decideAddress(policy, address, { learned: true, endpoint })
    if (byName.action === 'deny') return { ...denied(byName.reason), ...named }
  }
  return { ...to, isOpen }
}

function denied(problem: string): NotChosen {
  return { kind: 'denied', problem }
}
