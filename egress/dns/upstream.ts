// Asks the name servers of the host: one after the other, each with a deadline, by UDP and again by TCP when the answer did not
// fit. Every question has its own socket, so its port and its id are both random, and only the server asked may answer. The same
// question asked twice at once is asked once; answers are kept for as long as they are good.

import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { connect, isIPv6 } from 'node:net'
import type { Answer } from 'dns-packet'
import { messageOf } from '../../lib/errors.ts'
import type { NameServer } from '../../lib/name-server.ts'
import {
  formatQuestion,
  MAX_TTL_SECONDS,
  parseServerReply,
  RCODE,
  type ServerReply,
  withTtl,
} from './message.ts'

export type UpstreamAnswer = { rcode: number; answers: Answer[] }

export type UpstreamOptions = {
  /** Asked anew for every question, because the host's own servers change when it moves. */
  servers: () => readonly NameServer[]
  timeoutMs?: number
  /** All servers together get this long. */
  totalTimeoutMs?: number
  maxCached?: number
  now?: () => number
}

type Cached = UpstreamAnswer & { expiresAt: number }
type Question = { name: string; type: string }

const NEGATIVE_SECONDS = 5

export class Upstream {
  readonly #options: Required<UpstreamOptions>
  readonly #cache = new Map<string, Cached>()
  readonly #underWay = new Map<string, Promise<UpstreamAnswer>>()

  constructor({
    timeoutMs = 2000,
    totalTimeoutMs = 4500,
    maxCached = 4096,
    now = Date.now,
    servers,
  }: UpstreamOptions) {
    this.#options = { timeoutMs, totalTimeoutMs, maxCached, now, servers }
  }

  /** Resolves with NOERROR or NXDOMAIN; rejects when no server gave either. The name must be canonical. */
  ask(question: Question, signal: AbortSignal): Promise<UpstreamAnswer> {
    const key = `${question.type} ${question.name}`
    const cached = this.#cached(key)
    if (cached) return Promise.resolve(cached)
    const running = this.#underWay.get(key)
    if (running) return running
    const asking = this.#askServers(question, signal)
      .then((answer) => {
        this.#store(key, answer)
        return answer
      })
      .finally(() => this.#underWay.delete(key))
    this.#underWay.set(key, asking)
    return asking
  }

  #cached(key: string): UpstreamAnswer | undefined {
    const cached = this.#cache.get(key)
    if (!cached) return undefined
    const now = this.#options.now()
    if (now >= cached.expiresAt) {
      this.#cache.delete(key)
      return undefined
    }
    const left = Math.ceil((cached.expiresAt - now) / 1000)
    return { rcode: cached.rcode, answers: withTtl(cached.answers, left) }
  }

  #store(key: string, { rcode, answers }: UpstreamAnswer): void {
    const ttls = answers.map((answer) => ('ttl' in answer ? Number(answer.ttl ?? 0) : 0))
    const seconds = answers.length > 0 ? Math.min(MAX_TTL_SECONDS, ...ttls) : NEGATIVE_SECONDS
    if (seconds <= 0) return
    const now = this.#options.now()
    if (this.#cache.size >= this.#options.maxCached) {
      const [oldest] = this.#cache.keys()
      if (oldest !== undefined) this.#cache.delete(oldest)
    }
    this.#cache.set(key, { rcode, answers, expiresAt: now + seconds * 1000 })
  }

  async #askServers(question: Question, outer: AbortSignal): Promise<UpstreamAnswer> {
    const servers = this.#options.servers()
    if (servers.length === 0) throw new Error('no name server is configured on this machine')
    const total = AbortSignal.any([outer, AbortSignal.timeout(this.#options.totalTimeoutMs)])
    const problems: string[] = []
    for (const server of servers) {
      if (total.aborted) break
      const signal = AbortSignal.any([total, AbortSignal.timeout(this.#options.timeoutMs)])
      try {
        const reply = await this.#askServer(server, question, signal)
        if (reply.rcode === RCODE.ok || reply.rcode === RCODE.noSuchName)
          return { rcode: reply.rcode, answers: reply.answers }
        problems.push(`${server.address}: answered with code ${reply.rcode}`)
      } catch (error) {
        problems.push(`${server.address}: ${messageOf(error)}`)
      }
    }
    throw new Error(problems.join('; ') || 'no name server answered in time')
  }

  async #askServer(server: NameServer, question: Question, signal: AbortSignal): Promise<ServerReply> {
    const byUdp = await askUdp(server, question, signal)
    return byUdp.truncated ? askTcp(server, question, signal) : byUdp
  }
}

function askUdp(server: NameServer, question: Question, signal: AbortSignal): Promise<ServerReply> {
  const asked = { ...question, id: randomInt(0x10000) }
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(server.address) ? 'udp6' : 'udp4')
    const end = (settle: () => void) => {
      signal.removeEventListener('abort', onAbort)
      socket.close()
      settle()
    }
    const onAbort = () => end(() => reject(new Error('did not answer in time')))
    socket.once('error', (error) => end(() => reject(error)))
    socket.on('message', (message, from) => {
      if (from.address !== server.address || from.port !== server.port) return
      const reply = parseServerReply(message, asked)
      if (reply) end(() => resolve(reply))
    })
    signal.addEventListener('abort', onAbort, { once: true })
    socket.send(formatQuestion(asked), server.port, server.address, (error) => {
      if (error) end(() => reject(error))
    })
  })
}

function askTcp(server: NameServer, question: Question, signal: AbortSignal): Promise<ServerReply> {
  const asked = { ...question, id: randomInt(0x10000) }
  return new Promise((resolve, reject) => {
    const socket = connect({ host: server.address, port: server.port })
    let received = Buffer.alloc(0)
    const end = (settle: () => void) => {
      signal.removeEventListener('abort', onAbort)
      socket.destroy()
      settle()
    }
    const onAbort = () => end(() => reject(new Error('did not answer in time by TCP')))
    signal.addEventListener('abort', onAbort, { once: true })
    socket.on('error', (error) => end(() => reject(error)))
    socket.once('end', () => end(() => reject(new Error('closed the TCP connection without an answer'))))
    socket.once('connect', () => {
      const message = formatQuestion(asked)
      const length = Buffer.alloc(2)
      length.writeUInt16BE(message.length)
      socket.write(Buffer.concat([length, message]))
    })
    socket.on('data', (chunk) => {
      // A length of two bytes bounds what can pile up here.
      received = Buffer.concat([received, chunk])
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return
      const reply = parseServerReply(received.subarray(2, 2 + received.readUInt16BE(0)), asked)
      end(() =>
        reply ? resolve(reply) : reject(new Error('gave an answer by TCP that is not to the question')),
      )
    })
  })
}
