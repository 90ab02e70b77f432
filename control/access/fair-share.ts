// What everybody shares is shared by all: a gateway has so many connections to control (gateway/relay/pool.ts) and no more, and whoever held
// them all, by streams that never end or by creates that wait, would shut out the others, an operator who wants to end that included.

import type { MiddlewareHandler } from 'hono'
import { Counts } from '../../lib/counts.ts'
import type { AppEnv } from '../app-deps.ts'
import { refusal } from '../errors.ts'

export type FairShareOptions = {
  /** Requests of one tenant that are under way at once, its streams included. */
  maxOfTenant?: number
  maxStreamsOfTenant?: number
  /** Streams of all together, those of the operator's keys included. */
  maxStreams?: number
}

/** Lets each tenant have so many requests under way, and refuses what is more with 429. Comes behind who finds out who asks. */
export function shareFairly({
  maxOfTenant = 512,
  maxStreamsOfTenant = 128,
  maxStreams = 512,
}: FairShareOptions = {}): MiddlewareHandler<AppEnv> {
  const requests = new Counts<string | undefined>()
  const streams = new Counts<string | undefined>()

  return async (context, next) => {
    // Nobody on pages that are open to all.
    const principal = context.get('principal') as AppEnv['Variables']['principal'] | undefined
    const tenant = principal?.tenant
    if (tenant !== undefined && requests.of(tenant) >= maxOfTenant)
      throw tooMany(`Tenant "${tenant}" has ${maxOfTenant} requests under way, and may have no more`)
    const leave = tenant === undefined ? () => {} : requests.add(tenant)
    let isStreaming = false
    try {
      await next()
      const { body, headers } = context.res
      if (!body || headers.get('content-type') !== 'text/event-stream') return
      const problem =
        tenant !== undefined && streams.of(tenant) >= maxStreamsOfTenant
          ? `Tenant "${tenant}" has ${maxStreamsOfTenant} streams of events, and may have no more`
          : streams.total >= maxStreams
            ? `There are ${maxStreams} streams of events, and there may be no more`
            : undefined
      if (problem !== undefined) {
        await body.cancel()
        throw tooMany(problem)
      }
      isStreaming = true
      const end = streams.add(tenant)
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
      void body
        .pipeTo(writable)
        .catch(() => {}) // its reader has left, which is one of its two ends
        .finally(() => {
          end()
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
