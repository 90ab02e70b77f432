// What becomes of one connection: a refusal is logged at once, and all of it is one event of the record when it is over.

import type { Decision } from '../policy/decide.ts'
import type { DecisionRecord } from '../record.ts'
import type { RefusalLog } from '../refusal-log.ts'
import type { Sandboxes } from '../sandboxes.ts'

export type OutcomeOptions = {
  sandboxId: string
  to: { address: string; port: number; name?: string; via?: string }
  sandboxes: () => Pick<Sandboxes, 'get'>
  record: Pick<DecisionRecord, 'add'>
  refusals: RefusalLog
}

export class Outcome {
  readonly #options: OutcomeOptions
  readonly #begunAt = performance.now()
  /** Why it was let through, or why not. */
  decision: Decision | undefined
  /** The name that was judged last. */
  asked: string | undefined
  #refusal: string | undefined
  #end = ''

  constructor(options: OutcomeOptions) {
    this.#options = options
    this.asked = options.to.name
  }

  refuse(reason: string): void {
    this.#refusal = reason
    const { sandboxId, to, refusals } = this.#options
    const { address, port } = to
    const name = this.asked
    refusals(sandboxId, {
      event: `${name} ${address} ${port} ${reason}`,
      what: { ...(name !== undefined && { name }), address, protocol: 'tcp', port },
      reason,
    })
  }

  /** Why it was ended, though it was let through. */
  endedBy(why: string): void {
    this.#end = `; ended, as ${why}`
  }

  /** What is kept of a sandbox has gone with it. */
  note({ isThrough, ...bytes }: { isThrough: boolean; bytesSent: number; bytesReceived: number }): void {
    const { sandboxId, to, sandboxes, record } = this.#options
    if (!sandboxes().get(sandboxId)) return
    const { address, port, via } = to
    const { reason, rule } = this.decision ?? { reason: 'it ended before it had named a server' }
    record.add(sandboxId, {
      kind: 'connection',
      verdict: this.#refusal === undefined && isThrough ? 'allow' : 'deny',
      reason: this.#refusal ?? `${reason}${this.#end}`,
      ...(rule !== undefined && { rule }),
      ...(this.asked !== undefined && { name: this.asked }),
      address,
      protocol: 'tcp',
      port,
      ...(via !== undefined && { via }),
      ...bytes,
      durationMs: Math.round(performance.now() - this.#begunAt),
    })
  }
}
