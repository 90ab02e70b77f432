// What `mount`, `umount` and `ip` would do for us, done by calls to the system where we know them: to start such a program takes some
// milliseconds of processor time, and what it does some tenths of one (docs/decisions/calls-for-programs.md). What is not known here, and a
// mount that fails, is the program's: it does the same, and says why it cannot.

import { type CLibrary, openCLibrary } from '../koffi.ts'
import type { RunOptions, RunResult } from '../run-program.ts'
import { NetworkCalls } from './network-calls.ts'
import { readIpBatch } from './read-ip-batch.ts'
import { type MountCall, readMount } from './read-mount.ts'

const DONE: RunResult = { code: 0, stdout: '', stderr: '' }

export class ProgramCalls {
  readonly #network: NetworkCalls
  readonly #mount
  readonly #unmount

  constructor(library: CLibrary) {
    this.#network = new NetworkCalls(library)
    this.#mount = library.func(
      'int mount(const char *source, const char *target, const char *type, ulong flags, const char *data)',
    )
    this.#unmount = library.func('int umount2(const char *target, int flags)')
  }

  /** Undefined where there is no way to call the system: then programs do everything. */
  static open(): ProgramCalls | undefined {
    try {
      return new ProgramCalls(openCLibrary())
    } catch {
      return undefined // no module for this machine
    }
  }

  /** What the program would have answered; undefined when it has to be run. */
  async run(
    program: string,
    args: readonly string[],
    { input, env, output }: RunOptions,
  ): Promise<RunResult | undefined> {
    if (env !== undefined || output === 'ignore') return undefined
    try {
      if (input === undefined) {
        const call = readMount(program, args)
        return call && (await this.#isDone(call)) ? DONE : undefined
      }
      return await this.#runIp(program, args, input)
    } catch {
      return undefined // the program will say why
    }
  }

  async #runIp(program: string, args: readonly string[], input: string): Promise<RunResult | undefined> {
    const { namespace, command } = readNsenter(program, args)
    const steps = command === 'ip -batch -' ? readIpBatch(input) : undefined
    if (!steps) return undefined
    const refused = await this.#network.take(steps, namespace)
    if (!refused) return DONE
    return { code: 1, stdout: '', stderr: `${refused.why}\nCommand failed -:${refused.line}\n` }
  }

  /** On another thread: the kernel may wait for disks and for others who change mounts. */
  #isDone(call: MountCall): Promise<boolean> {
    return new Promise((resolve) => {
      const answer = (error: Error | null, result: number) => resolve(error === null && result === 0)
      if (call.what === 'unmount') this.#unmount.async(call.target, call.flags, answer)
      else {
        const { source, target, type, flags, data } = call
        this.#mount.async(source, target, type, flags, data, answer)
      }
    })
  }
}

/** The command that nsenter is told to run, and the network namespace that it shall be run in. */
function readNsenter(program: string, args: readonly string[]): { namespace?: string; command: string } {
  if (program !== 'nsenter') return { command: [program, ...args].join(' ') }
  const [option = '', ...command] = args
  const namespace = /^--net=(\/proc\/\d+\/ns\/net)$/.exec(option)?.[1]
  return namespace === undefined ? { command: '' } : { namespace, command: command.join(' ') }
}
