// Questions of sandboxes as they come over the wire, and the answers to them: who asks is the source address. So many are answered at
// once, of each sandbox and in all.

import { Lanes } from '../../lib/lanes.ts'
import type { Sandbox } from '../sandbox-table.ts'
import type { Sandboxes } from '../sandboxes.ts'
import {
  canonical,
  formatProblem,
  formatReply,
  parseQuery,
  type Query,
  RCODE,
  type Rcode,
  type Reply,
} from './message.ts'
import type { Resolver } from './resolve.ts'

export type Transport = 'udp' | 'tcp'
/** Undefined: the question gets no answer at all. */
export type Answerer = (message: Buffer, source: string, transport: Transport) => Promise<Buffer | undefined>

export type AnswererOptions = {
  sandboxes: Pick<Sandboxes, 'byAddress'>
  resolve: Resolver
  /** Hears of a question that was not even looked at. */
  onCrowded?: (sandbox: Sandbox, name: string) => void
  /** Hears how each question went. */
  onAnswered?: (answered: { transport: Transport; rcode: Rcode; isBlocked: boolean; ms: number }) => void
  maxPerSandbox?: number
  maxTotal?: number
}

export function createAnswerer({
  sandboxes,
  resolve,
  onCrowded,
  onAnswered,
  maxPerSandbox = 256,
  maxTotal = 2048,
}: AnswererOptions): Answerer {
  const running = new Lanes(maxTotal, { each: maxPerSandbox })

  return async (message, source, transport) => {
    const sandbox = sandboxes.byAddress(source)
    if (!sandbox) return undefined
    const beganAt = performance.now()
    const query = parseQuery(message)
    if (!query) return undefined
    if ('rcode' in query) return formatProblem(query)
    const reply = await answer(sandbox, query)
    // What was asked by one is nothing to who has its address now.
    if (sandboxes.byAddress(source)?.id !== sandbox.id) return undefined
    onAnswered?.({
      transport,
      rcode: reply.rcode,
      isBlocked: reply.blocked !== undefined,
      ms: performance.now() - beganAt,
    })
    return formatReply(query, reply, transport)
  }

  async function answer(sandbox: Sandbox, query: Query): Promise<Reply> {
    const { id } = sandbox
    const name = canonical(query.name)
    if (!running.isOpenTo(id)) {
      onCrowded?.(sandbox, name)
      return { rcode: RCODE.failed }
    }
    const done = running.take(id)
    try {
      return await resolve(sandbox, { name, type: query.type })
    } finally {
      done()
    }
  }
}
