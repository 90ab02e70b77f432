// The shell of a session: one process that reads its script from a pipe, line by line (script.ts), and reports over another. It
// opens both by name, so that it holds neither in a way that its children would inherit, and the name of the script goes as soon as
// it is open. That name has no directory, because it is how the shell calls itself in its messages.

import { chownSync, constants, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { ownedEnvironment } from '../command/marks.ts'
import { type ProcessEnd, type RunningProcess, startProcess } from '../command/process.ts'
import { createRandomId } from '../random-id.ts'
import type { Surroundings } from '../surroundings.ts'
import { turn } from '../timer.ts'
import { DueReports, type RunReport } from './due-reports.ts'
import type { SessionPipes } from './pipes.ts'
import type { ReportField } from './report.ts'
import { type Dialect, openingLine, type RunLine, runLine, type SavedState } from './script.ts'

/** bash reads its script byte by byte: more code than this comes sooner from a file. */
const MAX_INLINE_BYTES = 1024
const READY_MS = 10_000
const CLOSE_MS = 500
/** What is kept of what it says before it is ready. */
const MAX_LAST_WORDS = 1000

export type ShellSpec = {
  dialect: Dialect
  /** The program as an absolute path. */
  path: string
  /** A directory for this shell alone. */
  dir: string
  env: Record<string, string>
  /** Marks of whom its processes belong to, when not to sessions. */
  marks?: Record<string, string>
  state: SavedState
  /** Where it begins when the directory of the state cannot be entered. */
  fallbackCwd: string
}

export type ShellRun = Pick<RunLine, 'stdout' | 'stderr' | 'code' | 'exports' | 'status' | 'traced'> & {
  cwd?: string
}

export class Shell {
  readonly pid: number
  readonly startTime: number
  /** Resolves with its directory when it takes runs; rejects when it never will. */
  readonly ready: Promise<string>
  /** Resolves when it has ended and all its reports have been read. */
  readonly ended: Promise<ProcessEnd>
  readonly #spec: ShellSpec
  readonly #user: { uid: number; gid: number }
  readonly #process: RunningProcess
  readonly #script: Socket
  readonly #reports: Socket
  readonly #due = new DueReports()
  #state: SavedState
  #isReady = false
  #isStateCurrent = true
  #saved: Promise<void> = Promise.resolve()
  #savesAll = true
  #bytes = 0
  #lastWords = ''
  #hasExited = false
  #end: ProcessEnd | undefined

  /** Starts a shell. Rejects with StartError when it cannot be executed. */
  static async start(surroundings: Surroundings, pipes: SessionPipes, spec: ShellSpec): Promise<Shell> {
    const { dialect, dir } = spec
    const user = surroundings.identity()
    mkdirSync(dir, { recursive: true, mode: 0o711 })
    const sockets: Socket[] = []
    try {
      for (const name of [dialect, 'report']) {
        pipes.place(join(dir, name), user)
        // Open at both ends: it is there before the shell has opened it, and between two reports.
        const fd = openSync(join(dir, name), constants.O_RDWR | constants.O_NONBLOCK)
        sockets.push(new Socket({ fd, readable: name === 'report', writable: name === dialect }))
      }
      const process = await startProcess(surroundings.starter, {
        path: spec.path,
        argv: [dialect, ...(dialect === 'bash' ? ['--noprofile', '--norc'] : []), dialect],
        cwd: dir,
        env: { ...spec.env, ...(spec.marks ?? ownedEnvironment(surroundings, 'session')) },
        user,
        output: 'merged',
      })
      const [script, reports] = sockets as [Socket, Socket]
      return new Shell(spec, { user, process, script, reports })
    } catch (error) {
      for (const socket of sockets) socket.destroy()
      rmSync(dir, { recursive: true, force: true })
      throw error
    }
  }

  private constructor(
    spec: ShellSpec,
    own: { user: { uid: number; gid: number }; process: RunningProcess; script: Socket; reports: Socket },
  ) {
    this.#spec = spec
    this.#state = spec.state
    this.#user = own.user
    this.#process = own.process
    this.#script = own.script
    this.#reports = own.reports
    this.pid = own.process.pid
    this.startTime = own.process.startTime
    // A shell that has ended does not read on; its end is told by the process.
    this.#script.on('error', () => {})
    this.#reports.on('error', () => {})
    this.#reports.on('data', (chunk: Buffer) => {
      this.#bytes += chunk.length
      this.#due.push(chunk)
    })
    own.process.stdout.on('error', () => {})
    own.process.stdout.on('data', (chunk: Buffer) => {
      this.#lastWords = (this.#lastWords + chunk.toString()).slice(-MAX_LAST_WORDS)
    })
    this.ended = this.#awaitEnd()
    this.ready = this.#open()
    // Perhaps nobody asks before the first run.
    this.ready.catch(() => {})
  }

  /** How it has ended, or undefined while it runs. */
  get end(): ProcessEnd | undefined {
    return this.#end
  }

  /** Its state at the end of the last run that came to its end; before, the one that it was started with. */
  get state(): SavedState {
    return this.#state
  }

  /** Whether `state` is that of the last run, and not of one before, as it has not been written down yet. */
  get isStateCurrent(): boolean {
    return this.#isStateCurrent
  }

  /** Resolves when the state of the last run has been written down, or never will be. */
  async settled(): Promise<void> {
    await Promise.race([this.#saved, this.ended])
  }

  /** Runs code; resolves with undefined when the shell has ended before the code's end. One at a time. */
  async execute(run: ShellRun): Promise<RunReport | undefined> {
    const nonce = createRandomId()
    const codeFile = this.#writeCode(run.code)
    const saved = Promise.withResolvers<void>()
    const reported = new Promise<RunReport>((resolve) => {
      this.#due.expectRun(nonce, {
        ended: (report) => {
          this.#isStateCurrent = false
          this.#saved = saved.promise
          resolve(report)
        },
        saved: (report, exports, rest) => {
          this.#keep(report, exports, rest)
          saved.resolve()
        },
      })
    })
    this.#script.write(
      runLine(this.#spec.dialect, {
        ...run,
        nonce,
        report: this.#reportPath(),
        saveAll: this.#savesAll,
        ...(codeFile === undefined ? {} : { codeFile }),
      }),
    )
    const report = await Promise.race([reported, this.ended.then(() => undefined)])
    if (codeFile !== undefined) rmSync(codeFile, { force: true })
    return report
  }

  /** Lets it end, as at the end of a script; it is killed if it does not. What it left in the background lives on. */
  async close(): Promise<void> {
    // One that has not opened its script yet would wait for it.
    if (!this.#isReady) this.kill()
    this.#script.destroy()
    const timer = setTimeout(() => this.kill(), CLOSE_MS)
    await this.ended
    clearTimeout(timer)
  }

  /** Ends the shell at once, and nothing else. */
  kill(): void {
    // Until its end is seen here, its number is nobody else's.
    if (!this.#hasExited) process.kill(this.pid, 'SIGKILL')
  }

  async #open(): Promise<string> {
    const { dialect, env, state, fallbackCwd } = this.#spec
    const nonce = createRandomId()
    const opened = new Promise<string>((resolve) => this.#due.expectOpening(nonce, resolve))
    const initialNames = Object.keys(env)
    const report = this.#reportPath()
    this.#script.write(openingLine(dialect, { nonce, report, state, fallbackCwd, initialNames }))
    const timer = setTimeout(() => this.kill(), READY_MS)
    const cwd = await Promise.race([opened, this.ended.then(() => undefined)])
    clearTimeout(timer)
    if (cwd === undefined) {
      const words = this.#lastWords.trim()
      throw new Error(`it ended before it was ready${words === '' ? '' : `: ${words}`}`)
    }
    this.#isReady = true
    rmSync(join(this.#spec.dir, dialect), { force: true })
    return cwd
  }

  async #awaitEnd(): Promise<ProcessEnd> {
    const end = await this.#process.ended
    this.#hasExited = true
    // What it has written is in the pipe by now, and a pipe that stays empty over a turn of the event loop has given everything.
    for (let before = -1; before < this.#bytes; ) {
      before = this.#bytes
      await turn()
      await turn()
    }
    this.#end = end
    this.#script.destroy()
    this.#reports.destroy()
    rmSync(this.#spec.dir, { recursive: true, force: true })
    return end
  }

  #keep({ cwd, traced }: RunReport, exports: ReportField, rest: ReportField): void {
    // Once it was too much, it would be again, and to write it down takes the shell its time.
    if (rest.isCut) this.#savesAll = false
    this.#isStateCurrent = true
    this.#state = {
      cwd,
      traced,
      ...(exports.isCut ? {} : { exports: exports.bytes }),
      ...(rest.isCut || !this.#savesAll ? {} : { rest: rest.bytes }),
      isPartial: exports.isCut || !this.#savesAll,
    }
  }

  #writeCode(code: string): string | undefined {
    if (this.#spec.dialect !== 'bash' || Buffer.byteLength(code) <= MAX_INLINE_BYTES) return undefined
    const path = join(this.#spec.dir, 'code')
    try {
      rmSync(path, { force: true })
      writeFileSync(path, `${code}\0`, { mode: 0o600, flag: 'wx' })
      chownSync(path, this.#user.uid, this.#user.gid)
      return path
    } catch {
      // No place on the disk, or no directory any more: the pipe is slower and always there.
      return undefined
    }
  }

  #reportPath(): string {
    return join(this.#spec.dir, 'report')
  }
}
