// A sandbox's egress policy as it stands on the wire (contract: egress.md 1, lifecycle.md networkPolicy).

import { z } from 'zod'

export const POLICY_ACTIONS = ['allow', 'deny'] as const
export type PolicyAction = (typeof POLICY_ACTIONS)[number]

/** At most this many rules in one policy; more is refused with 413 (contract: egress.md). */
export const MAX_POLICY_RULES = 4096

export const networkRuleSchema = z.object({
  action: z.enum(POLICY_ACTIONS),
  /** A name, `*.name`, an IP address, or a CIDR range. */
  target: z.string().min(1).max(512),
})
export type NetworkRule = z.infer<typeof networkRuleSchema>

export const networkPolicySchema = z.object({
  defaultAction: z.enum(POLICY_ACTIONS).default('deny'),
  egress: z.array(networkRuleSchema).default([]),
})
export type NetworkPolicy = z.infer<typeof networkPolicySchema>
