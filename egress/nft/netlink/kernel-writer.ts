// Hands to the kernel itself what changes often, as nft would: nft first reads all rules that there are, which takes longer than all else
// when there are many sandboxes (docs/decisions/rules-by-netlink.md).

import { messageOf } from '../../../lib/errors.ts'
import { openCLibrary } from '../../../lib/koffi.ts'
import type { Logger } from '../../../lib/log.ts'
import { MessageWriter } from '../../../lib/netlink/message-writer.ts'
import { type NetlinkSocket, NetlinkSockets, PROTOCOLS } from '../../../lib/netlink/sockets.ts'
import { encodeBatch } from './encode-batch.ts'
import { readAnswer } from './read-answer.ts'
import type { Command } from './read-script.ts'

/** `unable`: nothing was done, and nft must do it. */
export type Written = { outcome: 'done' } | { outcome: 'unable' } | { outcome: 'refused'; reason: string }

export type KernelWriterOptions = { socket: NetlinkSocket; log: Logger; deadlineMs?: number }

const DEADLINE_MS = 10_000
/** A batch of some hundreds of policies. */
const WANTED_BYTES = 8 << 20
/** Generations are asked about within moments. */
const MAX_GENERATIONS = 4096
/** What a kernel says that does not know something which nft would not have used with it. */
const UNKNOWN = /^(EINVAL|EOPNOTSUPP)\b/

/** Undefined, with a line in the log, where nft has to do everything. */
export function openKernelWriter(log: Logger): KernelWriter | undefined {
  try {
    const socket = new NetlinkSockets(openCLibrary()).open(PROTOCOLS.netfilter, { wantedBytes: WANTED_BYTES })
    return new KernelWriter({ socket, log })
  } catch (error) {
    log.warn('rules are changed by nft alone, which takes longer the more sandboxes there are', {
      error: messageOf(error),
    })
    return undefined
  }
}

export class KernelWriter {
  readonly #socket: NetlinkSocket
  readonly #log: Logger
  readonly #deadlineMs: number
  readonly #generations = new Set<number>()
  readonly #memory = new MessageWriter()
  #sequence = 1
  /** Until the kernel has answered, however long that takes. */
  #sending: Promise<unknown> = Promise.resolve()
  /** Until it has, or is not waited for any more. */
  #underWay: Promise<unknown> = Promise.resolve()
  #isUsable = true
  #hasSaidUnknown = false

  constructor({ socket, log, deadlineMs = DEADLINE_MS }: KernelWriterOptions) {
    this.#socket = socket
    this.#log = log
    this.#deadlineMs = deadlineMs
  }

  /** All or nothing, one call after the other. Rejects when nobody knows what became of it. */
  async apply(commands: readonly Command[]): Promise<Written> {
    if (!this.#isUsable) return { outcome: 'unable' }
    const batch = encodeBatch(commands, this.#sequence, this.#memory)
    if (batch.bytes.length > this.#socket.maxBytes) return { outcome: 'unable' }
    // Numbers have 32 bits, and begin anew well before.
    this.#sequence = batch.lastSequence > 2 ** 30 ? 1 : batch.lastSequence + 2
    let isLate = false
    const sending = this.#socket.send(batch.bytes).then((received) => {
      if (!received) return undefined
      const answer = readAnswer(batch, received)
      // One that is late is nobody's: who follows the kernel takes it for a change by others, and puts things right.
      if (!isLate) this.#remember(answer.generation)
      return answer
    })
    this.#sending = sending.catch(() => {})
    const inTime = this.#inTime(sending, () => {
      isLate = true
    })
    this.#underWay = inTime.catch(() => {})
    const answer = await inTime
    if (!answer) return { outcome: 'unable' }
    if (answer.isDone) return { outcome: 'done' }
    if (answer.refusal === undefined) throw new Error('the kernel has not said what became of the rules')
    if (!UNKNOWN.test(answer.refusal)) return { outcome: 'refused', reason: answer.refusal }
    if (!this.#hasSaidUnknown)
      this.#log.warn('the kernel does not take a change as it was written: nft writes it', {
        reason: answer.refusal,
      })
    this.#hasSaidUnknown = true
    return { outcome: 'unable' }
  }

  /** Whether a generation of the rules was made here, as far as the kernel says so in time. */
  async isOwn(generation: number): Promise<boolean> {
    // The kernel tells others of it before it answers.
    if (!this.#generations.has(generation)) await this.#underWay
    return this.#generations.has(generation)
  }

  async #inTime<T>(sending: Promise<T>, onLate: () => void): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      onLate()
      this.#stop('it has not answered in time')
      reject(new Error(`the kernel has not answered within ${this.#deadlineMs / 1000} s`))
    }, this.#deadlineMs)
    try {
      return await Promise.race([sending, late])
    } catch (error) {
      this.#stop(messageOf(error))
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  #stop(why: string): void {
    if (!this.#isUsable) return
    this.#isUsable = false
    this.#log.warn('the kernel is not written to any more, and rules are changed by nft alone', { why })
    void this.#sending.then(() => this.#socket.close())
  }

  #remember(generation: number | undefined): void {
    if (generation === undefined) return
    this.#generations.add(generation)
    if (this.#generations.size <= MAX_GENERATIONS) return
    const [oldest] = this.#generations
    if (oldest !== undefined) this.#generations.delete(oldest)
  }
}
