// All processes with the marks of what started them. Root in a sandbox may not look into the processes of other users (it has no
// CAP_SYS_PTRACE), so those are read by a small program that runs as such a user, once per process: a mark is for life.

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { messageOf, systemCodeOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { assetPath, nodeProgram } from '../runtime-dir.ts'
import { COMMAND_VARIABLE, FAMILY_VARIABLE, type Marks, parseMarks } from './marks.ts'
import { type ProcessEntry, readProcesses } from './process-table.ts'

const HELPER_TIMEOUT_MS = 5000
/** More numbers do not fit into one call. */
const MAX_PIDS_PER_HELPER = 4000

export type SeenProcess = ProcessEntry & { marks: Marks }

export class ProcessScanner {
  readonly #log: Logger
  /** The marks of every living process, by number and start time. */
  #known = new Map<string, Marks>()
  #scanning: Promise<SeenProcess[]> = Promise.resolve([])
  #isShared = false

  constructor(log: Logger) {
    this.#log = log
  }

  /** Looks at all processes. Who asks in the same turn of the event loop gets the same answer. */
  scan(): Promise<SeenProcess[]> {
    if (!this.#isShared) {
      this.#isShared = true
      setImmediate(() => {
        this.#isShared = false
      })
      // One after the other, whatever became of the one before: the next finds what this one has read.
      this.#scanning = this.#scanning.catch(() => {}).then(() => this.#look())
    }
    return this.#scanning
  }

  /** What can be seen at once: a process of another user that is new has no marks yet. */
  peek(): SeenProcess[] {
    return this.#withMarks(this.#read().processes)
  }

  async #look(): Promise<SeenProcess[]> {
    const { processes, unreadable } = this.#read()
    if (unreadable.length > 0) await this.#readAsTheirUsers(unreadable)
    return this.#withMarks(processes)
  }

  #read(): { processes: ProcessEntry[]; unreadable: ProcessEntry[] } {
    const processes = readProcesses()
    const known = new Map<string, Marks>()
    const unreadable: ProcessEntry[] = []
    for (const process of processes) {
      const key = keyOf(process)
      const marks = this.#known.get(key) ?? readMarks(process.pid)
      if (marks) known.set(key, marks)
      else unreadable.push(process)
    }
    this.#known = known
    return { processes, unreadable }
  }

  #withMarks(processes: ProcessEntry[]): SeenProcess[] {
    return processes.map((process) => ({ ...process, marks: this.#known.get(keyOf(process)) ?? {} }))
  }

  async #readAsTheirUsers(processes: ProcessEntry[]): Promise<void> {
    const byUser = new Map<string, ProcessEntry[]>()
    for (const process of processes) {
      const user = userOf(process.pid)
      if (user === undefined || user === '0 0') this.#known.set(keyOf(process), {})
      else byUser.set(user, [...(byUser.get(user) ?? []), process])
    }
    for (const [user, theirs] of byUser) {
      const [uid = 0, gid = 0] = user.split(' ').map(Number)
      for (let at = 0; at < theirs.length; at += MAX_PIDS_PER_HELPER) {
        const some = theirs.slice(at, at + MAX_PIDS_PER_HELPER)
        const marks = await this.#readAs(
          { uid, gid },
          some.map(({ pid }) => pid),
        )
        if (marks) for (const process of some) this.#known.set(keyOf(process), marks.get(process.pid) ?? {})
      }
    }
  }

  async #readAs(user: { uid: number; gid: number }, pids: number[]): Promise<Map<number, Marks> | undefined> {
    const [program = '', ...args] = nodeProgram()
    const script = [assetPath('read-environ.cjs'), `${COMMAND_VARIABLE},${FAMILY_VARIABLE}`]
    const found = new Map<number, Marks>()
    try {
      const text = await new Promise<string>((resolve, reject) => {
        execFile(
          program,
          [...args, '--max-semi-space-size=1', ...script, ...pids.map(String)],
          {
            ...user,
            env: {},
            cwd: '/',
            timeout: HELPER_TIMEOUT_MS,
            killSignal: 'SIGKILL',
            maxBuffer: 16 << 20,
          },
          (error, stdout) => (error ? reject(error) : resolve(stdout)),
        )
      })
      for (const line of text.split('\n').filter(Boolean)) {
        const [pid, ...entries] = JSON.parse(line) as [number, ...string[]]
        found.set(pid, parseMarks(entries.join('\0')))
      }
      return found
    } catch (error) {
      this.#log.warn('cannot look into the processes of a user', { uid: user.uid, error: messageOf(error) })
      return undefined
    }
  }
}

/** The marks of a process, or undefined when they are not ours to read. */
function readMarks(pid: number): Marks | undefined {
  try {
    return parseMarks(readFileSync(`/proc/${pid}/environ`, 'latin1'))
  } catch (error) {
    // Any other error means that it has ended.
    return systemCodeOf(error) === 'EACCES' || systemCodeOf(error) === 'EPERM' ? undefined : {}
  }
}

function userOf(pid: number): string | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    const [, uid] = /^Uid:\t(\d+)/m.exec(status) ?? []
    const [, gid] = /^Gid:\t(\d+)/m.exec(status) ?? []
    return uid === undefined || gid === undefined ? undefined : `${uid} ${gid}`
  } catch {
    // Ended meanwhile.
    return undefined
  }
}

function keyOf({ pid, startTime }: ProcessEntry): string {
  return `${pid} ${startTime}`
}
