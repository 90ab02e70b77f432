// When the registry of a sandbox's image is asked, as its create says: an addition to the contract (docs/images.md).

import { PULL_POLICIES, type PullPolicy } from '../../lib/api/images.ts'
import { refusal } from '../errors.ts'

export const PULL_POLICY_EXTENSION = 'image.pull.policy'

/** The policy that a create asks for, in whatever case; undefined when it says nothing. Throws a 400 when it may not be that. */
export function readPullPolicy(
  value: string | undefined,
  configured: PullPolicy | undefined,
): PullPolicy | undefined {
  const asked = value?.trim() ?? ''
  if (asked === '') return undefined
  const policy = PULL_POLICIES.find((name) => name.toLowerCase() === asked.toLowerCase())
  if (!policy)
    throw refusal(
      'SANDBOX::INVALID_PARAMETER',
      `extensions["${PULL_POLICY_EXTENSION}"] must be one of ${PULL_POLICIES.map((name) => `"${name}"`).join(', ')}, but it is "${asked.slice(0, 100)}"`,
    )
  if (configured === 'Never' && policy !== 'Never')
    throw refusal(
      'SANDBOX::INVALID_PARAMETER',
      `extensions["${PULL_POLICY_EXTENSION}"] must be "Never", as this installation has runtime.image_pull_policy = "Never", but it is "${policy}"`,
    )
  return policy
}

/** The policy that was written down with a sandbox. */
export function pullPolicyOf(extensions: Record<string, string>): PullPolicy | undefined {
  return PULL_POLICIES.find((name) => name === extensions[PULL_POLICY_EXTENSION])
}
