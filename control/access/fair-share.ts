// What everybody shares is shared by all: a gateway has so many connections to control (gateway/pool.ts) and no more, and whoever held
// them all, by streams that never end or by creates that wait, would shut out the others, an operator who wants to end that included.

import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../app.ts'
import { refusal } from '../errors.ts'

export type FairShareOptions = {
  /** Requests of one tenant that are under way at once, its streams included. */
  maxOfTenant?: number
  /** Streams of all together, those of the operator's keys included. */
  maxStreams?: number
}

/** Lets each tenant have so many requests under way, and refuses what is more with 429. Comes behind who finds out who asks. */
export function shareFairly({
  maxOfTenant = 256,
  maxStreams = 512,
}: FairShareOptions = {}): MiddlewareHandler<AppEnv> {
  const underWay = new Map<string, number>()
  let streams = 0

  function enter(tenant: string): () => void {
    const count = underWay.get(tenant) ?? 0
    if (count >= maxOfTenant)
      throw tooMany(
        `Tenant "${tenant}" has ${count} requests under way, streams of events included, and may have no more`,
      )
    underWay.set(tenant, count + 1)
    return () => {
      const left = (underWay.get(tenant) ?? 1) - 1
      if (left > 0) underWay.set(tenant, left)
      else underWay.delete(tenant)
    }
  }

  return async (context, next) => {
    // Nobody on pages that are open to all.
    const principal = context.get('principal') as AppEnv['Variables']['principal'] | undefined
    const leave = principal?.tenant === undefined ? () => {} : enter(principal.tenant)
    let isStreaming = false
    try {
      await next()
      const { body, headers } = context.res
      if (!body || headers.get('content-type') !== 'text/event-stream') return
      if (streams >= maxStreams) {
        await body.cancel()
        throw tooMany(`There are ${streams} streams of events, and there may be no more`)
      }
      isStreaming = true
      streams++
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
      void body
        .pipeTo(writable)
        .catch(() => {}) // its reader has left, which is one of its two ends
        .finally(() => {
          streams--
          leave()
        })
      context.res = new Response(readable, context.res)
    } finally {
      if (!isStreaming) leave()
    }
  }
}

function tooMany(message: string): Error {
  return refusal('GENERAL::TOO_MANY_REQUESTS', message, { headers: { 'Retry-After': '1' } })
}
