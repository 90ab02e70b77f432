// Pipes for the output of processes. Node gives its children socket pairs, and a socket cannot be opened again by name:
// `echo x > /dev/stderr` in a script, or the log files that many images link to /dev/stdout, would fail with ENXIO. Node
// cannot make a pipe either, so we keep a stock of FIFOs in a directory of our own, made by `mkfifo` several at a time and
// used again once nobody holds them. Where that is not possible, a socket pair is better than nothing.
//
// The child's end is open for reading as well: while execd is away, what the child writes waits in the pipe, and the child does
// not die for want of a reader. The next life of execd finds the pipe by its name.

import { spawn } from 'node:child_process'
import { chownSync, closeSync, constants, lstatSync, mkdirSync, openSync, readdirSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { messageOf, systemCodeOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'

const BATCH = 16
const MAX_BATCH = 256
const MAX_PIPES = 4096
/** So many pipes that have been other users' are kept for them; more are made anew. */
const MAX_KEPT = 64
const MAKE_TIMEOUT_MS = 5000
/** Until pipes are tried again after they could not be made, as when no process could be started. */
const PAUSE_MS = 5000

export type Pipe = {
  /** Unique in the directory of the stock. */
  name: string
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

type Fifo = { name: string; uid: number; gid: number }

export class PipeStock {
  readonly #options: PipeStockOptions
  readonly #free: Fifo[] = []
  /** Have been other users', who may still hold their reading ends or have opened their modes: never for anyone else. */
  readonly #kept: Fifo[] = []
  #made = 0
  #named = 0
  #waiting = 0
  #isClean = false
  #pausedUntil = 0
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
    const kept = this.#kept.findIndex(({ uid }) => uid === owner.uid)
    while (kept < 0 && this.#free.length === 0) {
      if (!this.#canMake()) return undefined
      this.#waiting++
      await this.fill()
      this.#waiting--
    }
    const [fifo] = kept < 0 ? this.#free.splice(-1) : this.#kept.splice(kept, 1)
    if (!fifo) return undefined
    if (this.#free.length < BATCH / 4 && this.#canMake()) void this.fill()
    try {
      return this.#open(fifo, owner)
    } catch (error) {
      // Whoever is root in the sandbox can remove the directory; the next batch makes it again.
      this.#drop(fifo.name)
      this.#options.log.warn('cannot open a pipe', { pipe: fifo.name, error: messageOf(error) })
      return undefined
    }
  }

  /**
   * Takes over the pipes of an earlier life that someone can still write to, by name; the rest is removed. Everything that comes
   * out of them must be read. To be called before anything else.
   */
  adopt(): Map<string, Socket> {
    const { dir, log } = this.#options
    const adopted = new Map<string, Socket>()
    let names: string[] = []
    try {
      names = readdirSync(dir)
    } catch {
      // The earlier life had made none.
    }
    for (const name of names) {
      const number = /^p(\d{1,9})$/.exec(name)?.[1]
      this.#named = Math.max(this.#named, Number(number ?? -1) + 1)
      try {
        const read = number === undefined ? undefined : openHeld(join(dir, name))
        if (read) {
          adopted.set(name, read)
          this.#made++
          read.once('close', () => this.#drop(name))
        } else rmSync(join(dir, name), { recursive: true, force: true })
      } catch (error) {
        log.warn('cannot take over a pipe', { pipe: name, error: messageOf(error) })
      }
    }
    this.#isClean = true
    return adopted
  }

  #canMake(): boolean {
    return this.#made < MAX_PIPES && Date.now() >= this.#pausedUntil
  }

  #open(fifo: Fifo, owner: { uid: number; gid: number }): Pipe {
    const path = join(this.#options.dir, fifo.name)
    if (fifo.uid !== owner.uid || fifo.gid !== owner.gid) {
      chownSync(path, owner.uid, owner.gid)
      fifo.uid = owner.uid
      fifo.gid = owner.gid
    }
    const readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    let writeFd: number
    try {
      writeFd = openSync(path, constants.O_RDWR)
    } catch (error) {
      closeSync(readFd)
      throw error
    }
    const read = new Socket({ fd: readFd, readable: true, writable: false, allowHalfOpen: true })
    read.once('end', () => this.#takeBack(fifo))
    read.once('close', () => {
      // Closed by us while someone could still write: the bytes of one command must never reach the next.
      if (!read.readableEnded) this.#drop(fifo.name)
    })
    return { name: fifo.name, read, writeFd }
  }

  #takeBack(fifo: Fifo): void {
    if (fifo.uid === (process.getuid?.() ?? 0)) this.#free.push(fifo)
    else if (this.#kept.length < MAX_KEPT) this.#kept.push(fifo)
    else this.#drop(fifo.name)
  }

  #drop(name: string): void {
    this.#made--
    rmSync(join(this.#options.dir, name), { force: true })
  }

  async #make(): Promise<void> {
    const { dir, mkfifo, log } = this.#options
    mkdirSync(dir, { recursive: true, mode: 0o711 })
    if (!this.#isClean) {
      // Nobody has taken over what an earlier life left behind, and it may have been opened by anyone.
      for (const name of readdirSync(dir)) rmSync(join(dir, name), { recursive: true, force: true })
      this.#isClean = true
    }
    // Hundreds of commands at once do not wait for one small batch after the other.
    const count = Math.min(Math.max(BATCH, this.#waiting * 2), MAX_BATCH, MAX_PIPES - this.#made)
    const names = Array.from({ length: count }, () => `p${this.#named++}`)
    try {
      await run([...mkfifo, '-m', '600', '--', ...names.map((name) => join(dir, name))])
      const uid = process.getuid?.() ?? 0
      const gid = process.getgid?.() ?? 0
      this.#made += names.length
      this.#free.push(...names.map((name) => ({ name, uid, gid })))
    } catch (error) {
      this.#pausedUntil = Date.now() + PAUSE_MS
      log.warn('cannot make pipes; commands get sockets', { error: messageOf(error) })
    }
  }
}

/** Takes the pipes of these names out of those that were taken over. */
export function takePipes(adopted: Map<string, Socket>, names: string[] = []): Socket[] {
  const taken = names.map((name) => adopted.get(name)).filter((pipe) => pipe !== undefined)
  for (const name of names) adopted.delete(name)
  return taken
}

/** Our end of a pipe that someone holds; undefined when nobody does, or when it is no pipe. */
function openHeld(path: string): Socket | undefined {
  if (!lstatSync(path).isFIFO()) return undefined
  // Never through a link, and never waiting for anyone.
  const flags = constants.O_NONBLOCK | constants.O_NOFOLLOW
  let probeFd: number
  try {
    // Whoever holds it can read from it, and without a reader this fails. Nothing is taken out of it, as it would be by reading.
    probeFd = openSync(path, constants.O_WRONLY | flags)
  } catch (error) {
    if (systemCodeOf(error) === 'ENXIO') return undefined
    throw error
  }
  try {
    // Opened while there is a writer: only then is the end of the last one told.
    const fd = openSync(path, constants.O_RDONLY | flags)
    return new Socket({ fd, readable: true, writable: false, allowHalfOpen: true })
  } finally {
    closeSync(probeFd)
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
