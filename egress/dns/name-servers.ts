// Asks the name servers that there are: the first that is well, the next as soon as it fails or is slow, and whichever answers first
// is believed. One that did not answer is asked last for a while.

import { setTimeout as delay } from 'node:timers/promises'
import { messageOf } from '../../lib/errors.ts'
import type { DnsUpstream } from '../../lib/name-server.ts'
import { type Question, RCODE, type ServerReply } from './message.ts'
import { openTransport, type Transport, type Trust } from './transport.ts'

export type NameServersOptions = {
  /** Asked anew for every question, because the host's own servers change when it moves. */
  servers: () => readonly DnsUpstream[]
  /** Each attempt gets this long. */
  timeoutMs: number
  /** All attempts together get this long. */
  totalTimeoutMs: number
  /** After so long the next server is asked too. */
  hedgeMs: number
  now: () => number
  trust?: Trust
}

type Known = { transport: Transport; failures: number; downUntil: number; answers: number }

/** Grows with each failure in a row. */
const FIRST_DOWN_MS = 5000
const MAX_DOWN_MS = 60_000
/** Of servers that are not asked any more, when those of the host change. */
const MAX_KNOWN = 32

export class NameServers {
  readonly #options: NameServersOptions
  readonly #known = new Map<string, Known>()

  constructor(options: NameServersOptions) {
    this.#options = options
  }

  /** Resolves with NOERROR or NXDOMAIN; rejects, saying what each did, when no server gave either. */
  async ask(question: Question, outer: AbortSignal): Promise<ServerReply> {
    const servers = this.#inOrder()
    if (servers.length === 0) throw new Error('no name server is configured on this machine')
    const { totalTimeoutMs, hedgeMs } = this.#options
    const over = new AbortController()
    const signal = AbortSignal.any([outer, over.signal, AbortSignal.timeout(totalTimeoutMs)])
    // A packet is lost now and then: a server that is alone is asked twice.
    const attempts = servers.length === 1 ? [...servers, ...servers] : servers
    const problems: string[] = []
    let answer: ServerReply | undefined
    const running = new Set<Promise<void>>()
    try {
      for (const server of attempts) {
        if (signal.aborted || answer) break
        const attempt: Promise<void> = this.#attempt(server, question, signal)
          .then(
            (reply) => {
              if (reply.rcode === RCODE.ok || reply.rcode === RCODE.noSuchName) answer ??= reply
              else problems.push(`${nameOf(server)}: answered with code ${reply.rcode}`)
            },
            (error) => void problems.push(`${nameOf(server)}: ${messageOf(error)}`),
          )
          .finally(() => running.delete(attempt))
        running.add(attempt)
        await Promise.race([attempt, patience(hedgeMs, signal)])
      }
      while (!answer && running.size > 0) await Promise.race(running)
    } finally {
      over.abort()
    }
    if (answer) return answer
    throw new Error([...new Set(problems)].join('; ') || 'no name server answered in time')
  }

  close(): void {
    for (const { transport } of this.#known.values()) transport.close()
  }

  async #attempt(server: DnsUpstream, question: Question, outer: AbortSignal): Promise<ServerReply> {
    const known = this.#of(server)
    const deadline = AbortSignal.timeout(this.#options.timeoutMs)
    const { answers } = known
    try {
      const reply = await known.transport.ask(question, AbortSignal.any([outer, deadline]))
      known.answers++
      known.failures = 0
      known.downUntil = 0
      return reply
    } catch (error) {
      // Another one was faster, or the program ends: that says nothing of this one. Nor does a name that it cannot find out about while
      // it answers for others, or whoever owns such a name could turn all sandboxes away from a server.
      if (!outer.aborted && known.answers === answers) {
        const downMs = Math.min(FIRST_DOWN_MS * 2 ** known.failures++, MAX_DOWN_MS)
        known.downUntil = this.#options.now() + downMs
      }
      throw error
    }
  }

  /** As they are configured, but those that are not well at the end. */
  #inOrder(): DnsUpstream[] {
    const now = this.#options.now()
    const isDown = (server: DnsUpstream) => (this.#known.get(nameOf(server))?.downUntil ?? 0) > now
    const servers = this.#options.servers()
    return [...servers.filter((server) => !isDown(server)), ...servers.filter(isDown)]
  }

  #of(server: DnsUpstream): Known {
    const name = nameOf(server)
    const known = this.#known.get(name)
    if (known) return known
    const made = {
      transport: openTransport(server, this.#options.trust),
      failures: 0,
      downUntil: 0,
      answers: 0,
    }
    this.#known.set(name, made)
    if (this.#known.size > MAX_KNOWN)
      for (const [first, { transport }] of this.#known) {
        transport.close()
        if (this.#known.delete(first)) break
      }
    return made
  }
}

/** How a server is called in messages, and by which two are told apart. */
export function nameOf(server: DnsUpstream): string {
  if (server.by === 'https') return server.url
  return server.by === 'tls' ? `tls://${server.address}:${server.port}` : `${server.address}:${server.port}`
}

async function patience(ms: number, signal: AbortSignal): Promise<void> {
  // Ended when the question is answered, which is no failure of the wait.
  await delay(ms, undefined, { signal, ref: false }).catch(() => {})
}
