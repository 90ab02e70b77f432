// What name servers say, remembered: the same question asked twice at once is asked once, and answers are kept for as long as they
// are good.

import type { Answer } from 'dns-packet'
import { clampTtl, type Question, withTtl } from './message.ts'
import { NameServers, type NameServersOptions } from './name-servers.ts'

export type UpstreamAnswer = {
  rcode: number
  answers: Answer[]
  /** Of an answer without records: how long it may be believed. */
  negativeSeconds?: number
}

export type UpstreamOptions = Pick<NameServersOptions, 'servers'> &
  Partial<NameServersOptions> & { maxCached?: number }

type Cached = UpstreamAnswer & { expiresAt: number }

const NEGATIVE_SECONDS = 5
const MAX_NEGATIVE_SECONDS = 60

export type UpstreamCounts = { hits: number; misses: number; failures: number }

export class Upstream {
  /** Questions that were known, asked for, and asked for in vain. */
  readonly counts: UpstreamCounts = { hits: 0, misses: 0, failures: 0 }
  readonly #servers: NameServers
  readonly #maxCached: number
  readonly #now: () => number
  readonly #cache = new Map<string, Cached>()
  readonly #underWay = new Map<string, Promise<UpstreamAnswer>>()

  constructor({ maxCached = 4096, now = Date.now, ...options }: UpstreamOptions) {
    this.#servers = new NameServers({ timeoutMs: 2000, totalTimeoutMs: 4500, hedgeMs: 300, now, ...options })
    this.#maxCached = maxCached
    this.#now = now
  }

  /** Resolves with NOERROR or NXDOMAIN; rejects when no server gave either. The name must be canonical. */
  ask(question: Question, signal: AbortSignal): Promise<UpstreamAnswer> {
    const key = `${question.type} ${question.name}`
    const cached = this.#cached(key)
    if (cached) {
      this.counts.hits++
      return Promise.resolve(cached)
    }
    this.counts.misses++
    const running = this.#underWay.get(key)
    if (running) return running
    const asking = this.#servers
      .ask(question, signal)
      .then(({ rcode, answers, negativeSeconds }) => {
        const answer = { rcode, answers, ...(negativeSeconds !== undefined && { negativeSeconds }) }
        this.#store(key, answer)
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

  close(): void {
    this.#servers.close()
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

  #store(key: string, answer: UpstreamAnswer): void {
    const { answers, negativeSeconds = NEGATIVE_SECONDS } = answer
    const seconds =
      answers.length > 0
        ? Math.min(...answers.map((each) => clampTtl('ttl' in each ? each.ttl : 0)))
        : Math.min(Math.max(negativeSeconds, 1), MAX_NEGATIVE_SECONDS)
    if (this.#cache.size >= this.#maxCached) {
      const [oldest] = this.#cache.keys()
      if (oldest !== undefined) this.#cache.delete(oldest)
    }
    this.#cache.set(key, { ...answer, expiresAt: this.#now() + seconds * 1000 })
  }
}
