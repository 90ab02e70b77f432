// What name servers say, remembered: the same question asked twice at once is asked once, and answers are kept for as long as they
// are good. Answers are for all sandboxes, whoever asked, and say nothing of a policy; how many are kept, and how many questions are under
// way, is shared out, so that one that asks for much waits for itself.

import type { Answer } from 'dns-packet'
import { LaneQueue } from '../../lib/lane-queue.ts'
import { Lanes } from '../../lib/lanes.ts'
import { SharedCache, type SharedCacheLimits } from '../../lib/shared-cache.ts'
import type { Question } from './message.ts'
import { NameServers, type NameServersOptions } from './name-servers.ts'
import { clampTtl, withTtl } from './ttl.ts'

export type UpstreamAnswer = {
  rcode: number
  answers: Answer[]
  /** Of an answer without records: how long it may be believed. */
  negativeSeconds?: number
}

export type UpstreamOptions = Pick<NameServersOptions, 'servers'> &
  Partial<NameServersOptions> & {
    /** Answers that are kept. */
    cached?: SharedCacheLimits
    /** Questions that are under way. */
    asking?: { each: number; total: number }
  }

/** For whom something is asked, and until when it makes sense. */
export type Asking = { whose: string; signal: AbortSignal }

const CACHED: SharedCacheLimits = { each: 512, total: 4096 }
const ASKING = { each: 32, total: 512 }
const TOTAL_TIMEOUT_MS = 4500

type Cached = UpstreamAnswer & { expiresAt: number }

const NEGATIVE_SECONDS = 5
const MAX_NEGATIVE_SECONDS = 60

export type UpstreamCounts = { hits: number; misses: number; failures: number }

export class Upstream {
  /** Questions that were known, asked for, and asked for in vain. */
  readonly counts: UpstreamCounts = { hits: 0, misses: 0, failures: 0 }
  readonly #servers: NameServers
  readonly #totalTimeoutMs: number
  readonly #queue: LaneQueue
  readonly #now: () => number
  readonly #cache: SharedCache<Cached>
  readonly #underWay = new Map<string, Promise<UpstreamAnswer>>()

  constructor({ cached = CACHED, asking = ASKING, ...rest }: UpstreamOptions) {
    const options = {
      ...{ timeoutMs: 2000, totalTimeoutMs: TOTAL_TIMEOUT_MS, hedgeMs: 300, now: Date.now },
      ...rest,
    }
    this.#servers = new NameServers(options)
    this.#cache = new SharedCache(cached)
    this.#queue = new LaneQueue(new Lanes(asking.total, { each: asking.each }))
    this.#totalTimeoutMs = options.totalTimeoutMs
    this.#now = options.now
  }

  /** Resolves with NOERROR or NXDOMAIN; rejects when no server gave either. The name must be canonical. */
  ask(question: Question, asking: Asking): Promise<UpstreamAnswer> {
    const key = `${question.type} ${question.name}`
    const cached = this.#cached(key)
    if (cached) {
      this.counts.hits++
      return Promise.resolve(cached)
    }
    this.counts.misses++
    const running = this.#underWay.get(key)
    if (running) return running
    const leave = this.#queue.tryEnter(asking.whose)
    return leave ? this.#begin(key, question, asking).finally(leave) : this.#askLater(key, question, asking)
  }

  close(): void {
    this.#servers.close()
  }

  /** Only what is under way is waited for by others: what waits for its turn would have them wait for another sandbox's turn. */
  async #askLater(key: string, question: Question, { whose, signal }: Asking): Promise<UpstreamAnswer> {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(this.#totalTimeoutMs)])
    const leave = await this.#queue.enter(whose, deadline).catch((error) => {
      this.counts.failures++
      throw new Error('the sandbox asks for more at once than name servers answer', { cause: error })
    })
    try {
      const known = this.#cached(key) ?? this.#underWay.get(key)
      return await (known ?? this.#begin(key, question, { whose, signal: deadline }))
    } finally {
      leave()
    }
  }

  #begin(key: string, question: Question, { whose, signal }: Asking): Promise<UpstreamAnswer> {
    const asking = this.#servers
      .ask(question, signal)
      .then(({ rcode, answers, negativeSeconds }) => {
        const answer = { rcode, answers, ...(negativeSeconds !== undefined && { negativeSeconds }) }
        this.#store(whose, key, answer)
        return answer
      })
      .catch((error) => {
        this.counts.failures++
        throw error
      })
      .finally(() => this.#underWay.delete(key))
    this.#underWay.set(key, asking)
    return asking
  }

  #cached(key: string): UpstreamAnswer | undefined {
    const cached = this.#cache.get(key)
    if (!cached) return undefined
    const now = this.#now()
    if (now >= cached.expiresAt) {
      this.#cache.delete(key)
      return undefined
    }
    const left = Math.ceil((cached.expiresAt - now) / 1000)
    return cached.answers.length > 0
      ? { rcode: cached.rcode, answers: withTtl(cached.answers, left) }
      : { rcode: cached.rcode, answers: [], negativeSeconds: left }
  }

  #store(whose: string, key: string, answer: UpstreamAnswer): void {
    const { answers, negativeSeconds = NEGATIVE_SECONDS } = answer
    const seconds =
      answers.length > 0
        ? Math.min(...answers.map((each) => clampTtl('ttl' in each ? each.ttl : 0)))
        : Math.min(Math.max(negativeSeconds, 1), MAX_NEGATIVE_SECONDS)
    this.#cache.set(whose, key, { ...answer, expiresAt: this.#now() + seconds * 1000 })
  }
}
