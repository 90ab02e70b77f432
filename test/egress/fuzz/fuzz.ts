// `npm run fuzz -- dns|hello|hpack|http|http2|policy|egress --seconds 60`: made-up messages are read by egress and, where there is
// somebody else who reads them, by OpenSSL, nghttp2 and llhttp. What throws, takes long, or is understood differently is printed.

import { messageOf } from '../../../lib/errors.ts'
import { createRandom } from '../../gateway/strict/mutate.ts'
import { dnsTarget } from './dns-target.ts'
import { createHelloTarget } from './hello-target.ts'
import { createHpackTarget } from './hpack-target.ts'
import { createHttpTarget } from './http-target.ts'
import { createHttp2Target } from './http2-target.ts'
import { policyTarget } from './policy-target.ts'
import type { FuzzTarget } from './target.ts'

export const EGRESS_TARGETS: Record<string, () => FuzzTarget> = {
  dns: () => dnsTarget,
  hello: createHelloTarget,
  hpack: createHpackTarget,
  http: createHttpTarget,
  http2: createHttp2Target,
  policy: () => policyTarget,
}

const MAX_SHOWN = 20
/** Of this process's own time for one message, so that a machine that has other things to do does not count. */
const SLOW_MS = 250

/** What is wrong with a case, or with how long its reading takes. */
export async function problemOf(target: FuzzTarget, made: string): Promise<string | undefined> {
  const before = process.cpuUsage()
  try {
    const problem = await target.check(made)
    if (problem !== undefined) return problem
  } catch (error) {
    return `it throws: ${messageOf(error)}`
  }
  const ms = process.cpuUsage(before).user / 1000
  return ms > SLOW_MS ? `it takes ${Math.round(ms)} ms` : undefined
}

/** Tries made-up cases of these readers, the time shared among them; resolves with how many were wrong. */
export async function fuzzEgress(names: readonly string[], seconds: number, seed: number): Promise<number> {
  let wrong = 0
  for (const name of names) {
    const target = EGRESS_TARGETS[name]?.()
    if (!target) continue
    const random = createRandom(seed)
    const until = performance.now() + (seconds * 1000) / names.length
    let cases = 0
    while (performance.now() < until) {
      const made = target.make(random)
      cases++
      const problem = await problemOf(target, made)
      if (problem !== undefined && ++wrong <= MAX_SHOWN) console.log(`${name}: ${problem}: ${made}`)
    }
    target.close?.()
    console.log(`${name}: ${cases} cases with seed ${seed}`)
  }
  return wrong
}
