// Which image a request may have without its registry being asked. An image that came without a login, or that the operator has
// opened, is everybody's. One that came by a login is nobody's by itself: whoever asks for it shows each time that the registry lets them.

import type { PullPolicy } from '../../lib/api/images.ts'

/** What is known of one reference on this machine. */
export type Known<T> = {
  /** What everybody may use. */
  shared?: T
  /** What came by a login. */
  guarded?: T
}

export type Decision<T> =
  | { action: 'use'; found: T }
  /** Ask the registry; `keep` is what is used when it lets the caller in, instead of what it has by now. */
  | { action: 'ask'; keep?: T }
  | { action: 'refuse'; reason: string }

/** What to do for a request with this policy. */
export function decideFetch<T>(
  known: Known<T>,
  { policy, hasLogin }: { policy: PullPolicy; hasLogin: boolean },
): Decision<T> {
  if (known.shared !== undefined && policy !== 'Always') return { action: 'use', found: known.shared }
  if (policy === 'Never')
    return {
      action: 'refuse',
      reason: hasLogin
        ? 'it is not among the images of this machine that everybody may use, and the pull policy "Never" forbids to ask its registry whether this login may have it'
        : 'it is not among the images of this machine that everybody may use, and the pull policy "Never" forbids to ask its registry for it',
    }
  return policy === 'Always' || known.guarded === undefined
    ? { action: 'ask' }
    : { action: 'ask', keep: known.guarded }
}
