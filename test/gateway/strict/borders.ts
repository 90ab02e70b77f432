// Where readers disagree about the borders of messages, and why each known disagreement is none that harms.

import { METHODS } from 'node:http'
import type { Opinion, Opinions } from './opinions.ts'

export type Reader = 'llhttp' | 'nginx'

export type Disagreement = { with: Reader | 'whoever is behind the gateway'; what: string; reason?: string }

/**
 * Who refuses, or closes, has said where it stops; the gateway refuses more than the others on purpose. What remains is two
 * readers that go on and see different requests, or one that waits where another goes on.
 */
const REASONS: readonly { with: Reader; when: (bytes: string, ours: string) => boolean; reason: string }[] = [
  {
    with: 'llhttp',
    when: (bytes) => /^connection:[^\r\n]*upgrade/im.test(bytes),
    reason:
      'Node gives what follows a request with Upgrade to whoever takes upgrades, and reads no further. The gateway passes an upgrade on only when there is no body, and goes on only when the sandbox answers without switching.',
  },
  {
    with: 'nginx',
    when: (_bytes, ours) => !METHODS.includes(ours.split(' ', 1)[0] ?? '') || /[^\0-~]/.test(ours),
    reason:
      'Node, which is behind nginx here, knows only the methods of its list, and no target beyond ASCII: nginx has read the request, and Node has not.',
  },
]

/** How the gateway's reading differs from the others', and from what was seen behind it. */
export function findDisagreements(bytes: string, opinions: Opinions): Disagreement[] {
  const found: Disagreement[] = opinions.lost.map((what) => ({ with: 'whoever is behind the gateway', what }))
  for (const reader of ['llhttp', 'nginx'] as const) {
    const difference = opinions[reader] && compare(opinions.gateway, opinions[reader])
    if (!difference) continue
    const { what, ours } = difference
    const reason = REASONS.find((known) => known.with === reader && known.when(bytes, ours))?.reason
    found.push({ with: reader, what, ...(reason !== undefined && { reason }) })
  }
  return found
}

/** What differs, and the first request of ours that the other does not have. */
function compare(ours: Opinion, theirs: Opinion): { what: string; ours: string } | undefined {
  const common = Math.min(ours.requests.length, theirs.requests.length)
  for (let at = 0; at < common; at++) {
    const [own = '', other = ''] = [ours.requests[at], theirs.requests[at]]
    if (!isSame(own, other)) return { what: `${JSON.stringify(own)} is ${JSON.stringify(other)}`, ours: own }
  }
  // The last of ours may be the one that was refused.
  const oursCount = ours.end === 'refused' ? ours.requests.length - 1 : ours.requests.length
  if (oursCount > common && theirs.end === 'waits')
    return { what: 'the other waits where the gateway goes on', ours: ours.requests[common] ?? '' }
  if (theirs.requests.length > common && ours.end === 'waits')
    return { what: 'the gateway waits where the other goes on', ours: '' }
  return undefined
}

/** Of what the gateway has answered itself the body is not known. */
function isSame(ours: string, theirs: string): boolean {
  if (!ours.endsWith(' ?')) return ours === theirs
  const [method, target = ''] = theirs.split(' ')
  return ours.slice(0, -2) === `${method} ${target.split('?', 1)[0]?.slice(0, 200)}`
}
