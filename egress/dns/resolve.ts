// What a sandbox may know of a name: decide on it, ask, take out what must not be seen, open the addresses, and only then give it away.
// Its own questions and those of the proxy that it may use come through here. Every refusal is a line in the log and in the record.

import type { Answer } from 'dns-packet'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { type Decision, isAliasDenied, whyClosed } from '../policy/decide.ts'
import type { DecisionRecord } from '../record.ts'
import { createRefusalLog } from '../refusal-log.ts'
import type { Sandbox } from '../sandbox-table.ts'
import type { Sandboxes } from '../sandboxes.ts'
import { type FilteredAnswer, filterAnswer } from './filter-answer.ts'
import { type DnsMeter, type OverLimit, zoneOf } from './limits.ts'
import { type Question, RCODE, type Rcode, treatmentOf } from './message.ts'
import { MAX_TTL_SECONDS, withTtl } from './ttl.ts'
import type { Upstream, UpstreamAnswer } from './upstream.ts'

export type Resolution = {
  rcode: Rcode
  answers: Answer[]
  /** Those that have been opened. */
  addresses: string[]
  /** Why there is nothing, when we decided so. */
  blocked?: string
  /** How long it may be believed that there is nothing, and below which name. */
  negative?: { zone: string; seconds: number }
}

export type Resolver = (sandbox: Sandbox, question: Question) => Promise<Resolution>

export type ResolverOptions = {
  sandboxes: Pick<Sandboxes, 'byAddress' | 'decide' | 'learn'>
  upstream: Pick<Upstream, 'ask'>
  meter: DnsMeter
  record: Pick<DecisionRecord, 'add'>
  /** Hears of every name that a policy denied. */
  onDenied?: (sandbox: Sandbox, name: string) => void
  /** Names that are ours: each leads to one address, which is open. */
  own?: ReadonlyMap<string, string>
  log: Logger
  signal: AbortSignal
  now?: () => number
}

type Judged = {
  /** To be opened before it is told. */
  addresses: string[]
  ttl: number
  aliases: readonly string[]
  tell: () => Resolution
}

/** An answer is judged again when the policy has changed meanwhile, so often. */
const MAX_JUDGED = 5
/** A policy can change at any time, and a name that was denied is then asked for again. */
const DENIED_SECONDS = 5
const EMPTY_SECONDS = 60
const OWN_SECONDS = 60

export function createResolver(options: ResolverOptions): Resolver {
  const { sandboxes, upstream, meter, record, onDenied, own, signal } = options
  const refusals = createRefusalLog(options.log, 'name denied', options.now)

  return async (sandbox, question) => {
    const { name, type } = question
    const tooMany = meter.question(sandbox.id)
    if (tooMany) return overLimit(sandbox, question, tooMany)
    const ours = own?.get(name)
    if (ours !== undefined)
      return {
        rcode: RCODE.ok,
        answers: type === 'A' ? [{ type: 'A', name, ttl: OWN_SECONDS, data: ours }] : [],
        addresses: [],
      }
    const decision = sandboxes.decide(sandbox, name)
    if (decision.action === 'deny') return denied(sandbox, question, decision)
    const treatment = treatmentOf(type, { hasIpv6: sandbox.address6 !== undefined })
    if (treatment === 'refuse') {
      const reason = `questions of type ${type} are not answered`
      refuse(sandbox, question, { reason })
      return nothing(RCODE.refused, reason)
    }
    if (treatment === 'empty') return { ...nothing(RCODE.ok), negative: negativeOf(name, EMPTY_SECONDS) }
    const tooMuch = meter.forward(sandbox.id, name, type)
    if (tooMuch) return overLimit(sandbox, question, tooMuch)
    try {
      return await ask(sandbox, question)
    } catch (error) {
      options.log.warn('cannot resolve', { sandbox: sandbox.id, name, type, error: messageOf(error) })
      return nothing(RCODE.failed)
    }
  }

  async function ask(sandbox: Sandbox, question: Question): Promise<Resolution> {
    const { name } = question
    const found = await upstream.ask(question, { whose: sandbox.id, signal })
    // Both waits are long enough for another policy, or for another sandbox at the address.
    for (let attempt = 0; attempt < MAX_JUDGED; attempt++) {
      const now = sandboxes.byAddress(sandbox.address)
      if (now?.id !== sandbox.id) return nothing(RCODE.failed)
      const { coming } = now
      const judged = judge(now, question, found)
      const { addresses, ttl, aliases } = judged
      const isOpen = addresses.length === 0 || (await sandboxes.learn(now, name, addresses, ttl, aliases))
      const after = sandboxes.byAddress(sandbox.address)
      if (after !== now || after.coming !== coming) continue
      if (!isOpen) return nothing(RCODE.failed)
      return judged.tell()
    }
    options.log.warn('a policy changes too often to answer', { sandbox: sandbox.id, name })
    return nothing(RCODE.failed)
  }

  /** What a policy makes of an answer. Nothing is told before it is known to be the one in force. */
  function judge(sandbox: Sandbox, question: Question, found: UpstreamAnswer): Judged {
    const { name, type } = question
    const decision = sandboxes.decide(sandbox, name)
    const closedBy = (why: Decision): Judged => ({
      addresses: [],
      ttl: 0,
      aliases: [],
      tell: () => denied(sandbox, question, why),
    })
    if (decision.action === 'deny') return closedBy(decision)
    const { answers, aliases, addresses, withheld, ttl } = filterBoth(sandbox, question, found.answers)
    for (const alias of aliases) {
      const of = sandboxes.decide(sandbox, alias)
      if (isAliasDenied(of)) return closedBy({ ...of, reason: `it is an alias for ${alias}: ${of.reason}` })
    }
    const [closed] = withheld
    return {
      addresses,
      ttl,
      aliases,
      tell() {
        if (closed !== undefined)
          refuse(sandbox, question, {
            reason: `its address ${closed} is closed (${whyClosed(closed) ?? 'not an address'}) and no rule opens it`,
          })
        if (type === 'A') noteAllowed(sandbox, name, decision)
        return {
          rcode: found.rcode,
          answers: withTtl(answers, MAX_TTL_SECONDS),
          addresses,
          ...(answers.length === 0 && { negative: negativeOf(name, secondsOf(found)) }),
        }
      },
    }
  }

  function denied(sandbox: Sandbox, question: Question, { reason, rule }: Decision): Resolution {
    refuse(sandbox, question, { reason, ...(rule !== undefined && { rule }) })
    onDenied?.(sandbox, question.name)
    return {
      ...nothing(RCODE.noSuchName, `denied by the sandbox's network policy: ${reason}`),
      negative: negativeOf(question.name, DENIED_SECONDS),
    }
  }

  function overLimit(sandbox: Sandbox, question: Question, { reason, count }: OverLimit): Resolution {
    if (count !== undefined) refuse(sandbox, question, { reason, ...(count > 1 && { count }) })
    return nothing(RCODE.refused, reason)
  }

  function refuse(
    { id }: Sandbox,
    { name: asked, type }: Question,
    why: { reason: string; rule?: string; count?: number },
  ): void {
    const name = asked.slice(0, 253)
    record.add(id, { kind: 'name', verdict: 'deny', name, ...why })
    const { reason, rule } = why
    refusals(id, {
      event: `${name} ${reason}`,
      what: { name, type },
      reason,
      ...(rule !== undefined && { rule }),
    })
  }

  function noteAllowed({ id, address }: Sandbox, name: string, { reason, rule }: Decision): void {
    // It may have gone while the answer was awaited, and what is kept of it has gone with it.
    if (sandboxes.byAddress(address)?.id !== id) return
    record.add(id, { kind: 'name', verdict: 'allow', reason, ...(rule !== undefined && { rule }), name })
  }
}

function nothing(rcode: Rcode, blocked?: string): Resolution {
  return { rcode, answers: [], addresses: [], ...(blocked !== undefined && { blocked }) }
}

/** While a policy is being put in force, both it and the one before count. */
function filterBoth(
  { policy, coming }: Sandbox,
  { name, type }: Question,
  answers: readonly Answer[],
): FilteredAnswer {
  const first = filterAnswer(policy, { name, type, answers })
  if (!coming) return first
  const second = filterAnswer(coming, { name, type, answers: first.answers })
  return { ...second, withheld: [...first.withheld, ...second.withheld] }
}

function negativeOf(name: string, seconds: number): { zone: string; seconds: number } {
  return { zone: zoneOf(name), seconds }
}

function secondsOf({ negativeSeconds = DENIED_SECONDS }: UpstreamAnswer): number {
  return Math.min(Math.max(negativeSeconds, 1), EMPTY_SECONDS)
}
