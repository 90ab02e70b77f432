// The shell of an isolated session as seen from outside: what it is told and what it answers go over a socket of their own
// (execd/assets/isolated-shell.bash has the other end). One run after the other; what is to run in the background is started
// between two of them, as a copy of the shell.

import { closeSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { type OutputSink, relayOutput } from '../command/output.ts'
import type { Pipe, PipeStock } from '../command/pipes.ts'
import type { ProcessEnd } from '../command/process.ts'
import { createRandomId } from '../random-id.ts'
import { assetPath } from '../runtime-dir.ts'
import { CHANNEL } from './namespace.ts'

/** A longer line from the shell is none of ours. */
const MAX_LINE = 4096
/** The shell's number of the signal by which its code is stopped: RTMAX-1 of Linux. */
export const STOP_SIGNAL = 63

/**
 * The program that a session begins with. A small loop starts the shell, and starts it again when it has ended by a way that
 * leaves no time to say so, once execd has heard of it.
 */
export function shellCommand(bash: string): string[] {
  // The text is read by the first line of the shell, so that the lines that errors name are those of the code.
  const first = `builtin eval "$(<${assetPath('isolated-shell.bash')})"; builtin eval "$__execd_loop"`
  const loop = [
    'while :; do "$BASH" --noprofile --norc -c "$0" bash',
    `builtin printf 'gone %s\n' "$?" >&${CHANNEL}`,
    `builtin read -r _ <&${CHANNEL} || builtin exit`,
    'done',
  ].join('; ')
  return [bash, '--noprofile', '--norc', '-c', loop, first]
}

/** The shell is gone for good, and with it what it was running. */
export class ShellGone extends Error {
  constructor() {
    super('session terminated')
  }
}

export type ShellOptions = {
  channel: Duplex
  /** Pipes that the session can open by name. */
  pipes: PipeStock
  /** Where it finds them. */
  pipeDir: string
  /** Who runs in the session, as the owner of the pipes. */
  owner: { uid: number; gid: number }
}

export type RunEnd = {
  exitCode: number
  /** The shell itself has ended in the run, and what it knew is lost. */
  isNewShell: boolean
}

export type BackgroundRun = { ended: Promise<RunEnd> }

/** A pipe with the act that lets go of our own way to write to it. */
type OutputPipe = Pipe & { release: () => void }
type Waiting = { resolve: (end: RunEnd) => void; reject: (error: Error) => void }

export class SessionShell {
  readonly #options: ShellOptions
  readonly #ready = Promise.withResolvers<void>()
  readonly #runs = new Map<string, Waiting>()
  readonly #starts = new Map<string, PromiseWithResolvers<number>>()
  /** The numbers inside of what runs in the background. */
  readonly #background = new Set<number>()
  #foreground: string | undefined
  #isGone = false
  #text = ''

  constructor(options: ShellOptions) {
    this.#options = options
    this.#ready.promise.catch(() => {})
    options.channel.on('data', (chunk: Buffer) => this.#read(chunk.toString('latin1')))
    options.channel.on('error', () => {})
    options.channel.on('close', () => this.close())
  }

  /** Resolves when the shell has been started; rejects when it never will be. */
  get ready(): Promise<void> {
    return this.#ready.promise
  }

  /** Runs code in the shell itself; resolves when it has ended and its output was handed on. Only one at a time. */
  async run(code: string, sink: OutputSink): Promise<RunEnd> {
    const [stdout, stderr] = this.#takePipes()
    const id = createRandomId()
    let end: RunEnd = { exitCode: -1, isNewShell: false }
    const ended = this.#await(id).then((how): ProcessEnd => {
      end = how
      return { exitCode: how.exitCode }
    })
    this.#foreground = id
    this.#send(`run ${id} BYTES ${this.#nameOf(stdout)} ${this.#nameOf(stderr)}`, code)
    const relayed = relayOutput({ stdout: stdout.read, stderr: stderr.read, ended }, sink)
    // The shell has opened them by then, or never will.
    const release = () => {
      stdout.release()
      stderr.release()
    }
    void ended.then(release, release)
    try {
      await relayed
      return end
    } finally {
      if (this.#foreground === id) this.#foreground = undefined
    }
  }

  /** The numbers, as the session has them, of what runs in the background. */
  get backgroundPids(): ReadonlySet<number> {
    return this.#background
  }

  /** Starts code in the background; resolves when it runs. Not while a run is going on. */
  async start(code: string, sink: OutputSink): Promise<BackgroundRun> {
    const output = this.#takePipe()
    const id = createRandomId()
    const ended = this.#await(id)
    ended.catch(() => {})
    const started = Promise.withResolvers<number>()
    this.#starts.set(id, started)
    this.#send(`start ${id} BYTES ${this.#nameOf(output)}`, code)
    const relayed = relayOutput(
      { stdout: output.read, ended: ended.then(({ exitCode }): ProcessEnd => ({ exitCode })) },
      sink,
    )
    relayed.catch(() => {})
    try {
      const pid = await started.promise
      output.read.once('close', () => this.#endSilent(id))
      this.#background.add(pid)
      const forget = () => this.#background.delete(pid)
      ended.then(forget, forget)
      return { ended: relayed.then(() => ended) }
    } catch (error) {
      // It never began: nobody will tell of its end.
      this.#runs.get(id)?.reject(error as Error)
      throw error
    } finally {
      this.#starts.delete(id)
      output.release()
    }
  }

  /** Ends every wait. */
  close(): void {
    if (this.#isGone) return
    this.#isGone = true
    const gone = new ShellGone()
    this.#ready.reject(gone)
    for (const waiting of [...this.#runs.values(), ...this.#starts.values()]) waiting.reject(gone)
    this.#options.channel.destroy()
  }

  /** What is killed says nothing any more. That nobody can write is then all there is to know. */
  #endSilent(id: string): void {
    // What it said is on its way through the other socket, and read in the same turn or the next.
    setImmediate(() =>
      setImmediate(() => this.#runs.get(id)?.reject(new Error('killed before it had said how it ended'))),
    )
  }

  #await(id: string): Promise<RunEnd> {
    return new Promise<RunEnd>((resolve, reject) => {
      if (this.#isGone) reject(new ShellGone())
      else this.#runs.set(id, { resolve, reject })
    }).finally(() => this.#runs.delete(id))
  }

  #send(line: string, code: string): void {
    const bytes = Buffer.from(code)
    this.#options.channel.write(`${line.replace('BYTES', String(bytes.length))}\n`)
    this.#options.channel.write(bytes)
  }

  #takePipes(): [OutputPipe, OutputPipe] {
    const first = this.#takePipe()
    try {
      return [first, this.#takePipe()]
    } catch (error) {
      first.release()
      first.read.resume()
      throw error
    }
  }

  #takePipe(): OutputPipe {
    const pipe = this.#options.pipes.take(this.#options.owner)
    if (!pipe) throw new Error('Cannot make a pipe for the output of a run')
    return { ...pipe, release: once(() => closeSync(pipe.writeFd)) }
  }

  #nameOf({ name }: Pipe): string {
    return `${this.#options.pipeDir}/${name}`
  }

  #read(text: string): void {
    const lines = (this.#text + text).split('\n')
    this.#text = (lines.pop() ?? '').slice(-MAX_LINE)
    for (const line of lines) this.#take(line.split(' '))
  }

  #take([word, id = '', number = '']: string[]): void {
    if (word === 'ready') this.#ready.resolve()
    else if (word === 'end') this.#runs.get(id)?.resolve({ exitCode: Number(number), isNewShell: false })
    else if (word === 'started') this.#starts.get(id)?.resolve(Number(number))
    else if (word === 'failed') this.#starts.get(id)?.reject(new Error('its output could not be opened'))
    else if (word === 'gone') {
      const end = { exitCode: Number(id), isNewShell: true }
      if (this.#foreground) this.#runs.get(this.#foreground)?.resolve(end)
      for (const start of this.#starts.values())
        start.reject(new Error('the shell ended before it was started'))
      this.#options.channel.write('again\n')
    }
  }
}

/** The same act, done at the first call alone. */
function once(act: () => void): () => void {
  let isDone = false
  return () => {
    if (isDone) return
    isDone = true
    act()
  }
}
