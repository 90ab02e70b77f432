// The one place that changes the kernel's rules. Scripts that arrive while another is being applied go together in the next
// transaction, so that a burst of creates or DNS answers costs one start of nft and not hundreds. The order in which they
// were given stays; a transaction that fails is tried again script by script, so that one bad script fails alone.

import { messageOf } from '../../lib/errors.ts'
import type { RunProgram } from '../../lib/run-program.ts'

type Waiting = { script: string; resolve: () => void; reject: (error: Error) => void }

const MAX_BATCH_CHARACTERS = 1_000_000

export class Nft {
  readonly #run: RunProgram
  readonly #program: string
  #waiting: Waiting[] = []
  #running = false

  constructor(run: RunProgram, program = 'nft') {
    this.#run = run
    this.#program = program
  }

  /** Resolves once the kernel has taken the whole script; rejects when it took nothing of it. */
  apply(script: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ script, resolve, reject })
      if (!this.#running) void this.#work()
    })
  }

  /** What `nft -j list …` says, or undefined when the thing does not exist. */
  async list(...what: string[]): Promise<NftObject[] | undefined> {
    const { code, stdout, stderr } = await this.#run(this.#program, ['-j', 'list', ...what])
    if (code === 0) return (JSON.parse(stdout) as { nftables: NftObject[] }).nftables
    if (/No such file or directory/.test(stderr)) return undefined
    throw new Error(`nft list ${what.join(' ')} failed: ${firstLine(stderr)}`)
  }

  async #work(): Promise<void> {
    this.#running = true
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch()
      const error = await this.#commit(batch.map(({ script }) => script).join(''))
      if (!error) for (const each of batch) each.resolve()
      else if (batch.length === 1) batch[0]?.reject(error)
      else
        for (const each of batch) {
          const own = await this.#commit(each.script)
          if (own) each.reject(own)
          else each.resolve()
        }
    }
    this.#running = false
  }

  #takeBatch(): Waiting[] {
    let size = 0
    let count = 0
    for (const { script } of this.#waiting) {
      size += script.length
      if (count > 0 && size > MAX_BATCH_CHARACTERS) break
      count++
    }
    return this.#waiting.splice(0, count)
  }

  async #commit(script: string): Promise<Error | undefined> {
    try {
      const { code, stderr } = await this.#run(this.#program, ['-f', '-'], { input: script })
      return code === 0 ? undefined : new Error(`nft refused the rules: ${firstLine(stderr)}`)
    } catch (error) {
      return new Error(`nft could not be run: ${messageOf(error)}`, { cause: error })
    }
  }
}

/** The parts of nft's JSON that are read here. */
export type NftObject = {
  set?: { name: string; table: string; elem?: NftElement[] }
  chain?: { family: string; table: string; name: string; hook?: string; policy?: string; prio?: number }
  rule?: { handle: number; comment?: string; chain: string; expr?: { counter?: { packets: number } }[] }
}
export type NftElement = string | { elem: { val: unknown; expires?: number; timeout?: number } }

function firstLine(text: string): string {
  return text.trim().split('\n')[0]?.slice(0, 300) ?? ''
}
