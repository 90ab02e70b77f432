// Pipes for the output of processes. Node gives its children socket pairs, and a socket cannot be opened again by name:
// `echo x > /dev/stderr` in a script, or the log files that many images link to /dev/stdout, would fail with ENXIO. So we
// keep a stock of FIFOs in a directory of our own, used again once nobody holds them. Where none can be made, as on a full
// disk, a socket pair is better than nothing.
//
// The child's end is open for reading as well: while execd is away, what the child writes waits in the pipe, and the child does
// not die for want of a reader. The next life of execd finds the pipe by its name. What a child has written last goes with it, unless
// somebody else holds the pipe.

import { chownSync, closeSync, constants, lstatSync, mkdirSync, openSync, readdirSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { messageOf, systemCodeOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'

const MAX_PIPES = 4096
/** So many pipes that have been other users' are kept for them; more are made anew. */
const MAX_KEPT = 64

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
  /** Makes a FIFO that is ours alone. */
  makeFifo: (path: string) => void
  log: Logger
}

type Fifo = { name: string; uid: number; gid: number }

export class PipeStock {
  readonly #options: PipeStockOptions
  readonly #free: Fifo[] = []
  /** Have been other users', who may still hold their reading ends or have opened their modes: never for anyone else. */
  readonly #kept: Fifo[] = []
  /** Are somebody else's to find, by name: never used again. */
  readonly #held = new Set<string>()
  #made = 0
  #named = 0
  #isClean = false
  #hasFailed = false

  constructor(options: PipeStockOptions) {
    this.#options = options
  }

  /** Another stock, in a directory of its own. */
  sibling(dir: string): PipeStock {
    return new PipeStock({ ...this.#options, dir })
  }

  /** Makes its directory, for those who must have that before there is a pipe. */
  prepare(): void {
    if (this.#isClean) return
    const { dir } = this.#options
    mkdirSync(dir, { recursive: true, mode: 0o711 })
    // Nobody has taken over what an earlier life left behind, and it may have been opened by anyone.
    for (const name of readdirSync(dir)) rmSync(join(dir, name), { recursive: true, force: true })
    this.#isClean = true
  }

  /** A pipe whose end the given user may open again by name, or undefined when there are none to be had. */
  take(owner: { uid: number; gid: number }): Pipe | undefined {
    for (;;) {
      const old = this.#takeOld(owner.uid)
      const fifo = old ?? this.#make()
      if (!fifo) return undefined
      try {
        return this.#open(fifo, owner)
      } catch (error) {
        this.#drop(fifo.name)
        // Whoever is root in the sandbox can remove those that lie there unused.
        if (old) continue
        this.#options.log.warn('cannot open a pipe', { pipe: fifo.name, error: messageOf(error) })
        return undefined
      }
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

  /** A descriptor of our end of a pipe, for someone who reads nothing and only keeps it; undefined when it is not there any more. */
  openToHold(name: string): number | undefined {
    const path = join(this.#options.dir, name)
    try {
      if (!lstatSync(path).isFIFO()) return undefined
      this.#held.add(name)
      return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)
    } catch {
      // Removed by someone: then the next life would not find it either.
      return undefined
    }
  }

  #takeOld(uid: number): Fifo | undefined {
    const kept = this.#kept.findIndex((fifo) => fifo.uid === uid)
    return kept < 0 ? this.#free.pop() : this.#kept.splice(kept, 1)[0]
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
    if (this.#held.has(fifo.name)) this.#drop(fifo.name)
    else if (fifo.uid === (process.getuid?.() ?? 0)) this.#free.push(fifo)
    else if (this.#kept.length < MAX_KEPT) this.#kept.push(fifo)
    else this.#drop(fifo.name)
  }

  #drop(name: string): void {
    this.#made--
    rmSync(join(this.#options.dir, name), { force: true })
  }

  #make(): Fifo | undefined {
    const { dir, makeFifo, log } = this.#options
    if (this.#made >= MAX_PIPES) return undefined
    const name = `p${this.#named++}`
    try {
      this.prepare()
      try {
        makeFifo(join(dir, name))
      } catch (error) {
        if (systemCodeOf(error) !== 'ENOENT') throw error
        // Removed by someone.
        mkdirSync(dir, { recursive: true, mode: 0o711 })
        makeFifo(join(dir, name))
      }
    } catch (error) {
      if (!this.#hasFailed) log.warn('cannot make pipes; commands get sockets', { error: messageOf(error) })
      this.#hasFailed = true
      return undefined
    }
    this.#made++
    this.#hasFailed = false
    return { name, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
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
