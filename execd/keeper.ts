// What must not go with execd when it is killed is also held by a process that does nothing else and outlives it.
//
// The port: between two lives of execd nobody listens there. A program of the sandbox that is not root could take it then, and be given
// the token by whoever asks next. As long as its socket is held, the kernel gives the port to nobody but the same user, and only to who
// asks to share it, as the next life does. What connects meanwhile waits in the socket unread, and is told when the next life lets go of
// it that nobody has answered.
//
// The end of the entrypoint: what it has written last stays in its pipe as long as somebody holds that, and how it has ended is told to
// who had it open (command/process-status.ts).

import { spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { PipeStock } from './command/pipes.ts'
import type { ProcessEnd, RunningProcess } from './command/process.ts'
import { createProcessStatus, type ProcessStatus } from './command/process-status.ts'
import { isRunning, readProcess } from './command/process-table.ts'
import type { Libc } from './libc.ts'
import { hostProgram } from './runtime-dir.ts'

/**
 * A holder that no later life knows of would keep the socket for ever: it stays only once it is told that it has been noted. Stopped,
 * it takes no turn of a processor, and it goes on being so when the kernel tells it that nobody is left who could let it go on.
 */
const STAY = 'read -r _ || exit; trap "" HUP INT TERM; while :; do kill -STOP $$; done'

/** Where a holder has the descriptor of the entrypoint: behind its own three and the socket. */
const ENTRYPOINT_AT = 4

export type Holder = { pid: number; startTime: number }

/** The entrypoint, with the names of its pipes. */
export type KeptProcess = Pick<RunningProcess, 'pid' | 'startTime' | 'pipes'>

export type KeeperOptions = {
  /** Those of earlier lives. */
  holders: Holder[]
  pipes: PipeStock
  libc: Libc
  /** Writes down for the next life what it will have to end. */
  note(holders: Holder[]): void
  log: Logger
}

export class Keeper {
  readonly #options: KeeperOptions
  #holders: Holder[]
  /** A descriptor of the entrypoint. */
  #entrypoint: number | undefined
  #status: ProcessStatus | undefined

  constructor(options: KeeperOptions) {
    this.#options = options
    this.#holders = options.holders
  }

  /** To be told of the entrypoint of an earlier life before `hold`: it may have ended since, and then only a holder has it open. */
  find(entrypoint: KeptProcess): void {
    const kernel = this.#askKernel()
    const held = () =>
      this.#holders.map((holder) => kernel.share(holder, ENTRYPOINT_AT)).findLast((fd) => fd !== undefined)
    this.#entrypoint = kernel.open(entrypoint) ?? held()
  }

  /** How the entrypoint that was found has ended, should the kernel know. */
  readEnd(): ProcessEnd | undefined {
    return this.#entrypoint === undefined ? undefined : this.#askKernel().read(this.#entrypoint)
  }

  /**
   * Has all of it held from now on. Earlier holders go only afterwards: nothing is free in between. A life that ends between the two has
   * noted both.
   */
  hold(socket: number | undefined, entrypoint?: KeptProcess): void {
    const { pipes, note } = this.#options
    if (entrypoint) this.#entrypoint ??= this.#askKernel().open(entrypoint)
    const [name] = entrypoint?.pipes ?? []
    const output = name === undefined ? undefined : pipes.openToHold(name)
    const earlier = this.#holders.filter(isRunning)
    this.#holders = []
    const begun = (holder: Holder) => {
      this.#holders = [holder]
      note([...earlier, holder])
    }
    this.#start([socket, this.#entrypoint, output], begun)
    for (const holder of earlier) endHolder(holder)
    if (output !== undefined) closeSync(output)
  }

  end(): void {
    for (const holder of this.#holders) endHolder(holder)
    this.#holders = []
  }

  /** Late: until it is ready, a first life has more urgent things to do. */
  #askKernel(): ProcessStatus {
    this.#status ??= createProcessStatus(this.#options.libc)
    return this.#status
  }

  #start([socket, ...others]: (number | undefined)[], begun: (holder: Holder) => void): void {
    try {
      if (socket === undefined) this.#warn(new Error('The socket has no descriptor'))
      const [program = '', ...args] = hostProgram('dash')
      const child = spawn(program, [...args, '-c', STAY], {
        cwd: '/',
        env: {},
        stdio: ['pipe', 'ignore', 'ignore', ...[socket, ...others].map((fd) => fd ?? 'ignore')],
        detached: true,
      }).on('error', (error) => this.#warn(error))
      const { pid = 0, stdin } = child
      // It has ended by itself, which its end tells.
      stdin?.on('error', () => {})
      const startTime = readProcess(pid)?.startTime
      if (startTime === undefined) return
      begun({ pid, startTime })
      stdin?.end('\n')
    } catch (error) {
      this.#warn(error)
    }
  }

  #warn(error: unknown): void {
    this.#options.log.warn('not all that must outlive execd is held while it is started again', {
      error: messageOf(error),
    })
  }
}

/** Ends a holder, of this life or of an earlier one, if it is still that. */
function endHolder(holder: Holder): void {
  if (!isRunning(holder)) return
  try {
    process.kill(holder.pid, 'SIGKILL')
  } catch {
    // It has ended since the look.
  }
}
