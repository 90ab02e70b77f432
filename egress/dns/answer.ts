// What a sandbox is answered: decide on the name, ask, take out what must not be seen, open the addresses, and only then answer.
// Every refusal is a line in the log with the sandbox, the name and the reason.

import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { closedReason } from '../policy/addresses.ts'
import type { Decision } from '../policy/decide.ts'
import type { DecisionRecord } from '../record.ts'
import { createRefusalLog } from '../refusal-log.ts'
import type { Sandbox } from '../sandbox-table.ts'
import type { Sandboxes } from '../sandboxes.ts'
import {
  canonical,
  filterAnswer,
  formatProblem,
  formatReply,
  MAX_TTL_SECONDS,
  parseQuery,
  type Query,
  RCODE,
  type Reply,
  treatmentOf,
  withTtl,
} from './message.ts'
import type { Upstream } from './upstream.ts'

export type Transport = 'udp' | 'tcp'
/** Undefined: the question gets no answer at all. */
export type Answerer = (message: Buffer, source: string, transport: Transport) => Promise<Buffer | undefined>

export type AnswererOptions = {
  sandboxes: Pick<Sandboxes, 'byAddress' | 'decide' | 'learn'>
  upstream: Pick<Upstream, 'ask'>
  record: Pick<DecisionRecord, 'add'>
  log: Logger
  signal: AbortSignal
  maxPerSandbox?: number
  maxTotal?: number
  now?: () => number
}

export function createAnswerer(options: AnswererOptions): Answerer {
  const {
    sandboxes,
    upstream,
    record,
    signal,
    maxPerSandbox = 256,
    maxTotal = 2048,
    now = Date.now,
  } = options
  const refusals = createRefusalLog(options.log, 'name denied', now)
  const log = (sandbox: Sandbox, { name: asked, type }: Query, reason: string, rule?: string) => {
    const name = canonical(asked)
    record.add(sandbox.id, {
      kind: 'name',
      verdict: 'deny',
      reason,
      ...(rule !== undefined && { rule }),
      name: name.slice(0, 253),
    })
    refusals(sandbox.id, {
      event: `${name} ${reason}`,
      what: { name: name.slice(0, 253), type },
      reason,
      ...(rule !== undefined && { rule }),
    })
  }
  const running = new Map<string, number>()
  let total = 0

  return async (message, source, transport) => {
    const sandbox = sandboxes.byAddress(source)
    if (!sandbox) return undefined
    const query = parseQuery(message)
    if (!query) return undefined
    if ('rcode' in query) return formatProblem(query)
    const own = running.get(sandbox.id) ?? 0
    if (own >= maxPerSandbox || total >= maxTotal) {
      log(sandbox, query, 'too many questions at once')
      return formatReply(query, { rcode: RCODE.failed }, transport)
    }
    running.set(sandbox.id, own + 1)
    total++
    try {
      return formatReply(query, await answer(sandbox, query), transport)
    } finally {
      total--
      const left = (running.get(sandbox.id) ?? 1) - 1
      if (left > 0) running.set(sandbox.id, left)
      else running.delete(sandbox.id)
    }
  }

  async function answer(sandbox: Sandbox, query: Query): Promise<Reply> {
    const name = canonical(query.name)
    const decision = sandboxes.decide(sandbox, name)
    if (decision.action === 'deny') {
      log(sandbox, query, decision.reason, decision.rule)
      return {
        rcode: RCODE.noSuchName,
        blocked: `denied by the sandbox's network policy: ${decision.reason}`,
      }
    }
    const treatment = treatmentOf(query.type)
    if (treatment === 'refuse') {
      log(sandbox, query, `questions of type ${query.type} are not answered`)
      return { rcode: RCODE.refused }
    }
    if (treatment === 'empty') return { rcode: RCODE.ok }
    try {
      const reply = await ask(sandbox, query, name)
      if (query.type === 'A') noteAllowed(sandbox, name, decision)
      return reply
    } catch (error) {
      options.log.warn('cannot resolve', {
        sandbox: sandbox.id,
        name,
        type: query.type,
        error: messageOf(error),
      })
      return { rcode: RCODE.failed }
    }
  }

  function noteAllowed({ id, address }: Sandbox, name: string, { reason, rule }: Decision): void {
    // It may have gone while the answer was awaited, and what is kept of it has gone with it.
    if (sandboxes.byAddress(address)?.id !== id) return
    record.add(id, { kind: 'name', verdict: 'allow', reason, ...(rule !== undefined && { rule }), name })
  }

  async function ask(sandbox: Sandbox, query: Query, name: string): Promise<Reply> {
    const found = await upstream.ask({ name, type: query.type }, signal)
    const filtered = filterAnswer(sandbox.policy, { name, type: query.type, answers: found.answers })
    const [withheld] = filtered.withheld
    if (withheld !== undefined)
      log(
        sandbox,
        query,
        `its address ${withheld} is closed (${closedReason(withheld) ?? 'not an address'}) and no rule opens it`,
      )
    if (filtered.addresses.length > 0) {
      const open = await sandboxes.learn(sandbox, name, filtered.addresses, filtered.ttl)
      if (!open) return { rcode: RCODE.failed }
    }
    return { rcode: found.rcode, answers: withTtl(filtered.answers, MAX_TTL_SECONDS) }
  }
}
