// What the next life of execd needs to know of each command: one file, to which a line is added at the start of a command, at its
// end, and when it is forgotten. A line costs 15 microseconds, where a file for each command cost most of a millisecond, so every
// command has its lines. Once most lines are of forgotten commands, the file is written anew with the others.
//
// The file is inside the sandbox, where anyone who is root may have written it: what is read is checked, and only ever says
// where to look.

import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { messageOf, systemCodeOf } from '../../lib/errors.ts'
import { isRecord } from '../../lib/is-record.ts'
import type { Logger } from '../../lib/log.ts'
import { removeFile } from './journal-files.ts'

/** A file that is shorter is not worth writing anew. */
const SHORT_BYTES = 1 << 20
/** What is longer was not written here. */
const MAX_FILE_BYTES = 128 << 20
const MAX_RECORDS = 10_000
const ID_LENGTH = 32

export type CommandRecord = {
  id: string
  content: string
  background: boolean
  /** Milliseconds since 1970, as every time here. */
  startedAt: number
  timeoutMs?: number
  /** Absent when it could not be started. */
  process?: { pid: number; startTime: number; pipes: string[] }
  end?: CommandEndRecord
}

export type CommandEndRecord = {
  finishedAt: number
  exitCode?: number
  signal?: string
  error?: string
  timedOut?: boolean
  /** How much output there was. */
  outputBytes: number
  outputLost?: boolean
  isTold?: boolean
}

export class CommandRecords {
  readonly #dir: string
  readonly #path: string
  readonly #log: Logger
  #fd: number | undefined
  #bytes = 0
  /** How many bytes each command has in the file that is not forgotten. */
  readonly #lengths = new Map<string, number>()
  #keptBytes = 0
  #hasFailed = false

  constructor(dir: string, log: Logger) {
    this.#dir = dir
    this.#path = join(dir, 'records')
    this.#log = log
  }

  writeStart(record: CommandRecord): void {
    // Anyone who is root in the sandbox can remove it, and then nobody would ever read these lines.
    if (this.#fd !== undefined && fstatSync(this.#fd).nlink === 0) this.#close()
    this.#keep(record.id, this.#add(`${record.id} ${JSON.stringify(record)}`))
  }

  writeEnd(id: string, end: CommandEndRecord): void {
    this.#keep(id, this.#add(`${id} ${JSON.stringify(end)}`))
  }

  remove(id: string): void {
    this.#keptBytes -= this.#lengths.get(id) ?? 0
    this.#lengths.delete(id)
    this.#add(`${id} `)
    if (this.#bytes > Math.max(SHORT_BYTES, 2 * this.#keptBytes)) this.#rewrite()
  }

  /**
   * All records that make sense, in the order of their ends, then those without one in the order of their starts. To be called
   * before anything is written.
   */
  load(): CommandRecord[] {
    const records = [...this.#read()]
      .map(([id, lines]) => {
        const record = parseRecord(lines.join('\n'))
        return record?.id === id ? record : undefined
      })
      .filter((record) => record !== undefined)
      .sort((a, b) => endOf(a) - endOf(b) || a.startedAt - b.startedAt)
      .slice(-MAX_RECORDS)
    // What makes no sense is not kept either.
    for (const { id } of records) this.#keep(id, 0)
    if (records.length > 0) this.#rewrite()
    else removeFile(this.#path)
    return records
  }

  #close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  #keep(id: string, bytes: number): void {
    this.#lengths.set(id, (this.#lengths.get(id) ?? 0) + bytes)
    this.#keptBytes += bytes
  }

  /** The line of the start and that of the end, without the id, of each command that is not forgotten. */
  #read(): Map<string, string[]> {
    const found = new Map<string, string[]>()
    for (const text of this.#text().split('\n')) {
      const id = text.slice(0, ID_LENGTH)
      if (text[ID_LENGTH] !== ' ') continue
      if (text.length === ID_LENGTH + 1) found.delete(id)
      else {
        // One that was cut short is followed by the whole line.
        const [start] = found.get(id) ?? []
        const line = text.slice(ID_LENGTH + 1)
        found.set(id, start === undefined ? [line] : [start, line])
      }
    }
    return found
  }

  #text(): string {
    let fd: number | undefined
    try {
      // Never waiting for anyone, and never through a link.
      fd = openSync(this.#path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
      const stat = fstatSync(fd)
      return stat.isFile() && stat.size <= MAX_FILE_BYTES ? readFileSync(fd, 'utf8') : ''
    } catch {
      // No command was ever run, or what is there is not ours.
      return ''
    } finally {
      if (fd !== undefined) closeSync(fd)
    }
  }

  /** Writes a file with the commands alone that are not forgotten, and goes on with that. */
  #rewrite(): void {
    const next = `${this.#path}.new`
    this.#try(() => {
      const lines = [...this.#read()].filter(([id]) => this.#lengths.has(id))
      this.#keptBytes = 0
      let text = ''
      for (const [id, ofCommand] of lines) {
        const part = ofCommand.map((line) => `${id} ${line}\n`).join('')
        this.#lengths.set(id, part.length)
        this.#keptBytes += part.length
        text += part
      }
      removeFile(next)
      writeFileSync(next, text, { mode: 0o600, flag: 'wx' })
      renameSync(next, this.#path)
      this.#close()
      this.#bytes = text.length
    })
  }

  /** Adds a line, and gives its length. */
  #add(line: string): number {
    this.#try(() => {
      this.#fd ??= this.#open()
      writeSync(this.#fd, `${line}\n`)
    })
    this.#bytes += line.length + 1
    return line.length + 1
  }

  #open(): number {
    const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants
    const fd = openSync(this.#path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600)
    // The last line of an earlier life, or of a full disk, may have been cut short.
    writeSync(fd, '\n')
    return fd
  }

  /** A full disk must not keep a command from running. */
  #try(write: () => void): void {
    try {
      try {
        write()
      } catch (error) {
        this.#close()
        if (systemCodeOf(error) !== 'ENOENT') throw error
        // Made at the first command, and again when it was removed.
        mkdirSync(this.#dir, { recursive: true, mode: 0o711 })
        write()
      }
      this.#hasFailed = false
    } catch (error) {
      this.#close()
      if (!this.#hasFailed)
        this.#log.warn('cannot record commands; after a restart of execd they would be unknown', {
          error: messageOf(error),
        })
      this.#hasFailed = true
    }
  }
}

function endOf({ end }: CommandRecord): number {
  return end?.finishedAt ?? Number.MAX_SAFE_INTEGER
}

/** Reads the lines of a record. Undefined when they are not what execd writes; a torn last line counts as none. */
export function parseRecord(text: string): CommandRecord | undefined {
  const [start, end] = text.split('\n', 2).map(parseLine)
  if (!isRecord(start)) return undefined
  const { id, content, background, startedAt, timeoutMs, process } = start
  if (typeof id !== 'string' || !/^[0-9a-f]{32}$/.test(id)) return undefined
  if (typeof content !== 'string' || typeof background !== 'boolean' || !isTime(startedAt)) return undefined
  if (timeoutMs !== undefined && !isCount(timeoutMs)) return undefined
  if (process !== undefined && !isProcess(process)) return undefined
  return {
    id,
    content,
    background,
    startedAt,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(process === undefined ? {} : { process }),
    ...(isEnd(end) ? { end } : {}),
  }
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

function isProcess(value: unknown): value is NonNullable<CommandRecord['process']> {
  if (!isRecord(value)) return false
  const { pid, startTime, pipes } = value
  const hasPipes =
    Array.isArray(pipes) && pipes.length <= 2 && pipes.every((name) => /^p\d{1,9}$/.test(String(name)))
  return isCount(pid) && pid > 1 && isCount(startTime) && hasPipes
}

function isEnd(value: unknown): value is CommandEndRecord {
  if (!isRecord(value)) return false
  const { finishedAt, exitCode, signal, error, timedOut, outputBytes, outputLost, isTold } = value
  return (
    isTime(finishedAt) &&
    isCount(outputBytes) &&
    (exitCode === undefined || Number.isInteger(exitCode)) &&
    [signal, error].every((text) => text === undefined || typeof text === 'string') &&
    [timedOut, outputLost, isTold].every((flag) => flag === undefined || typeof flag === 'boolean')
  )
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** Milliseconds that a date can have. */
function isTime(value: unknown): value is number {
  return isCount(value) && value <= 8.64e15
}
