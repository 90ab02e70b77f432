// Pipes for the output of processes. Node gives its children socket pairs, and a socket cannot be opened again by name:
// `echo x > /dev/stderr` in a script, or the log files that many images link to /dev/stdout, would fail with ENXIO. Node
// cannot make a pipe either, so we keep a stock of FIFOs in a directory of our own, made by `mkfifo` several at a time and
// used again once nobody holds them. Where that is not possible, a socket pair is better than nothing.

import { spawn } from 'node:child_process'
import { chownSync, closeSync, constants, mkdirSync, openSync, readdirSync, unlinkSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'

const BATCH = 16
const MAX_PIPES = 4096
const MAKE_TIMEOUT_MS = 5000

export type Pipe = {
  /** Our end. Ends when the last writer has closed its own. */
  read: Socket
  /** The child's end, to be closed once the child has it. */
  writeFd: number
}

export type PipeStockOptions = {
  /** A directory of ours alone; made if missing. */
  dir: string
  /** The program that makes FIFOs, with its first arguments. */
  mkfifo: string[]
  log: Logger
}

type Fifo = { path: string; uid: number; gid: number }

export class PipeStock {
  readonly #options: PipeStockOptions
  readonly #free: Fifo[] = []
  #made = 0
  #named = 0
  #broken = false
  #making: Promise<void> | undefined

  constructor(options: PipeStockOptions) {
    this.#options = options
  }

  /** Fills an empty stock; nobody needs to wait for it. */
  fill(): Promise<void> {
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined
    })
    return this.#making
  }

  /** A pipe whose end the given user may open again by name, or undefined when there are none to be had. */
  async take(owner: { uid: number; gid: number }): Promise<Pipe | undefined> {
    while (this.#free.length === 0) {
      if (this.#broken || this.#made >= MAX_PIPES) return undefined
      await this.fill()
    }
    const fifo = this.#free.pop()
    if (!fifo) return undefined
    if (this.#free.length < BATCH / 4 && !this.#broken && this.#made < MAX_PIPES) void this.fill()
    try {
      return this.#open(fifo, owner)
    } catch (error) {
      // Whoever is root in the sandbox can remove the directory; the next batch makes it again.
      this.#made--
      this.#options.log.warn('cannot open a pipe', { path: fifo.path, error: messageOf(error) })
      return undefined
    }
  }

  #open(fifo: Fifo, owner: { uid: number; gid: number }): Pipe {
    if (fifo.uid !== owner.uid || fifo.gid !== owner.gid) {
      chownSync(fifo.path, owner.uid, owner.gid)
      fifo.uid = owner.uid
      fifo.gid = owner.gid
    }
    // A reader first: without one the opening of the writer would block.
    const readFd = openSync(fifo.path, constants.O_RDONLY | constants.O_NONBLOCK)
    let writeFd: number
    try {
      writeFd = openSync(fifo.path, constants.O_WRONLY)
    } catch (error) {
      closeSync(readFd)
      throw error
    }
    const read = new Socket({ fd: readFd, readable: true, writable: false, allowHalfOpen: true })
    read.once('end', () => this.#free.push(fifo))
    read.once('close', () => {
      // Closed by us while someone could still write: the bytes of one command must never reach the next.
      if (!read.readableEnded) {
        this.#made--
        unlinkSync(fifo.path)
      }
    })
    return { read, writeFd }
  }

  async #make(): Promise<void> {
    const { dir, mkfifo, log } = this.#options
    mkdirSync(dir, { recursive: true, mode: 0o711 })
    if (this.#named === 0) {
      // What an earlier life left behind may have been opened by anyone.
      for (const name of readdirSync(dir)) unlinkSync(join(dir, name))
    }
    const names = Array.from({ length: BATCH }, () => join(dir, `p${this.#named++}`))
    try {
      await run([...mkfifo, '-m', '600', '--', ...names])
      const uid = process.getuid?.() ?? 0
      const gid = process.getgid?.() ?? 0
      this.#made += names.length
      this.#free.push(...names.map((path) => ({ path, uid, gid })))
    } catch (error) {
      this.#broken = true
      log.warn('cannot make pipes; commands get sockets', { error: messageOf(error) })
    }
  }
}

function run(argv: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0] ?? '', argv.slice(1), {
      stdio: 'ignore',
      env: {},
      timeout: MAKE_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    })
    child.once('error', reject)
    child.once('exit', (code, signal) =>
      code === 0 ? resolve() : reject(new Error(`"${argv[0]}" ended with ${signal ?? code}`)),
    )
  })
}
