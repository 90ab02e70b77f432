// The one place that changes the kernel's rules. Scripts that arrive while another is being applied go together in the next
// transaction, so that a burst of creates or DNS answers costs one start of nft and not hundreds. The order in which they
// were given stays; a transaction that fails is tried again script by script, so that one bad script fails alone.
// What changes often is written to the kernel without nft, where that can be (netlink/).

import { messageOf } from '../../lib/errors.ts'
import type { RunProgram } from '../../lib/run-program.ts'
import { listAsJson } from '../list-as-json.ts'
import type { KernelWriter } from './netlink/kernel-writer.ts'
import { type Command, readScript } from './netlink/read-script.ts'

type Waiting = {
  script: string
  /** What it says, where it can be written without nft. */
  commands: readonly Command[] | undefined
  resolve: () => void
  reject: (error: Error) => void
}

export type NftOptions = {
  /** By a name of ours, or by a path. */
  program?: string
  writer?: Pick<KernelWriter, 'apply' | 'isOwn'>
}

const MAX_BATCH_CHARACTERS = 1_000_000

export class Nft {
  readonly #run: RunProgram
  readonly #program: string
  readonly #writer: NftOptions['writer']
  #onApplied: (isFailed: boolean) => void = () => {}
  #waiting: Waiting[] = []
  #running = false

  constructor(run: RunProgram, { program = 'nft', writer }: NftOptions = {}) {
    this.#run = run
    this.#program = program
    this.#writer = writer
  }

  /** Has somebody told of each transaction from now on, when it has gone into the kernel or failed. */
  follow(onApplied: (isFailed: boolean) => void): void {
    this.#onApplied = onApplied
  }

  /** Resolves once the kernel has taken the whole script; rejects when it took nothing of it. */
  apply(script: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const commands = this.#writer && readScript(script)
      this.#waiting.push({ script, commands, resolve, reject })
      if (!this.#running) void this.#work()
    })
  }

  /** Whether this has made a generation of the rules, as far as nobody sees by its name that nft did. */
  async isOwn(generation: number): Promise<boolean> {
    return (await this.#writer?.isOwn(generation)) ?? false
  }

  /** What `nft -j list …` says, or undefined when the thing does not exist. */
  async list(...what: string[]): Promise<NftObject[] | undefined> {
    const args = ['-j', 'list', ...what]
    const listed = await listAsJson<{ nftables: NftObject[] }>(this.#run, { program: this.#program, args })
    if ('value' in listed) return listed.value.nftables
    const asked = `nft list ${what.join(' ')}`
    if ('unreadable' in listed) throw new Error(`${asked} said ${listed.unreadable}`)
    if (/No such file or directory/.test(listed.complaint)) return undefined
    throw new Error(`${asked} failed: ${firstLine(listed.complaint)}`)
  }

  async #work(): Promise<void> {
    this.#running = true
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch()
      const error = await this.#commit(batch)
      if (!error) for (const each of batch) each.resolve()
      else if (batch.length === 1) batch[0]?.reject(error)
      else
        for (const each of batch) {
          const own = await this.#commit([each])
          if (own) each.reject(own)
          else each.resolve()
        }
    }
    this.#running = false
  }

  /** The first ones that go the same way. */
  #takeBatch(): Waiting[] {
    const isWritten = this.#waiting[0]?.commands !== undefined
    let size = 0
    let count = 0
    for (const { script, commands } of this.#waiting) {
      size += script.length
      if (count > 0 && (size > MAX_BATCH_CHARACTERS || (commands !== undefined) !== isWritten)) break
      count++
    }
    return this.#waiting.splice(0, count)
  }

  async #commit(batch: readonly Waiting[]): Promise<Error | undefined> {
    const error = (await this.#write(batch)) ?? (await this.#runNft(batch))
    this.#onApplied(error !== 'done')
    return error === 'done' ? undefined : error
  }

  /** Undefined when nothing was done, and nft must do it. */
  async #write(batch: readonly Waiting[]): Promise<Error | 'done' | undefined> {
    const commands = batch.flatMap((each) => each.commands ?? [])
    if (!this.#writer || commands.length === 0) return undefined
    try {
      const written = await this.#writer.apply(commands)
      if (written.outcome === 'unable') return undefined
      return written.outcome === 'done'
        ? 'done'
        : new Error(`the kernel refused the rules: ${written.reason}`)
    } catch (error) {
      return new Error(`the rules could not be changed: ${messageOf(error)}`, { cause: error })
    }
  }

  async #runNft(batch: readonly Waiting[]): Promise<Error | 'done'> {
    const input = batch.map(({ script }) => script).join('')
    try {
      const { code, stderr } = await this.#run(this.#program, ['-f', '-'], { input })
      return code === 0 ? 'done' : new Error(`nft refused the rules: ${firstLine(stderr)}`)
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
