// How long an answer may be believed.

import type { Answer } from 'dns-packet'

/** No answer is kept longer than its address stays open (contract: egress.md 4.2). */
export const MAX_TTL_SECONDS = 300
/** Nor for less than this: a name that leads elsewhere with every answer is asked for so often at most. */
const MIN_TTL_SECONDS = 5

/** How long an answer with this TTL is kept, by us and by the sandbox. */
export function clampTtl(ttl: number | undefined): number {
  return Math.min(Math.max(ttl ?? 0, MIN_TTL_SECONDS), MAX_TTL_SECONDS)
}

/** The same records, with at most this much time left in each. */
export function withTtl(answers: readonly Answer[], maxSeconds: number): Answer[] {
  return answers.map((answer) => ({ ...answer, ttl: Math.min(clampTtl(ttlOf(answer)), maxSeconds) }))
}

/** In seconds, as the record says it. */
export function ttlOf(answer: Answer): number {
  const ttl = 'ttl' in answer ? Number(answer.ttl ?? 0) : 0
  // Above 2^31 a TTL counts as zero (RFC 2181 8).
  return ttl < 2 ** 31 ? ttl : 0
}
