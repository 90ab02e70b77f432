// Names that the operator has pinned to an address are answered before any name server is asked. What is decided about an answer is
// decided about these, too.

import { RCODE } from './message.ts'
import type { Upstream } from './upstream.ts'

const SECONDS = 60

export function withPins(
  upstream: Pick<Upstream, 'ask'>,
  pins: ReadonlyMap<string, string>,
): Pick<Upstream, 'ask'> {
  return {
    async ask({ name, type }, asking) {
      const data = pins.get(name)
      if (data === undefined) return await upstream.ask({ name, type }, asking)
      return { rcode: RCODE.ok, answers: type === 'A' ? [{ type: 'A', name, ttl: SECONDS, data }] : [] }
    },
  }
}
