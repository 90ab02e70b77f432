// Why a sandbox may reach something or not, by the same decisions that are made when it tries.

import { isIPv4 } from 'node:net'
import { parseName } from '../lib/api/network-policy.ts'
import { ApiError } from '../lib/errors.ts'
import { type Decision, decideAddress } from './policy/decide.ts'
import type { Sandbox } from './sandbox-table.ts'
import type { Sandboxes } from './sandboxes.ts'

export type Explanation = Decision & {
  target: string
  kind: 'name' | 'address'
  /** Of an address: whether it was answered for an allowed name, by which TLS and HTTP connections to it open. */
  learned?: boolean
}

/** Explains what is decided about a name or an IPv4 address. Throws 400 for anything else. */
export function explain(sandboxes: Pick<Sandboxes, 'decide'>, sandbox: Sandbox, text: string): Explanation {
  const target = text.trim()
  if (isIPv4(target)) {
    const learned = sandbox.learned.has(target)
    return { target, kind: 'address', ...decideAddress(sandbox.policy, target, { learned }), learned }
  }
  const parsed = parseName(target)
  if ('problem' in parsed)
    throw new ApiError(
      400,
      'INVALID_TARGET',
      `target must be a host name or an IPv4 address, but ${JSON.stringify(target.slice(0, 80))} ${parsed.problem}`,
    )
  return { target: parsed.name, kind: 'name', ...sandboxes.decide(sandbox, parsed.name) }
}
