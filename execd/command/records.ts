// What the next life of execd needs to know of each command, in one small file per command: a line at its start, and one at its
// end. That costs 50 microseconds, so every command has one. The files are inside the sandbox, where anyone who is root may
// have written them: what is read is checked, and only ever says where to look.

import { appendFileSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, systemCodeOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { removeFile } from './journal-files.ts'

const MAX_FILE_BYTES = 1 << 20
const MAX_FILES = 10_000

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
  readonly #log: Logger
  #hasFailed = false

  constructor(dir: string, log: Logger) {
    this.#dir = dir
    this.#log = log
  }

  writeStart(record: CommandRecord): void {
    this.#try(() => writeFileSync(this.#path(record.id), `${JSON.stringify(record)}\n`, { mode: 0o600 }))
  }

  writeEnd(id: string, end: CommandEndRecord): void {
    this.#try(() => appendFileSync(this.#path(id), `${JSON.stringify(end)}\n`, { mode: 0o600 }))
  }

  remove(id: string): void {
    removeFile(this.#path(id))
  }

  /** All records that make sense, in the order of their ends, then those without one in the order of their starts. */
  load(): CommandRecord[] {
    let names: string[]
    try {
      names = readdirSync(this.#dir)
    } catch {
      // No command was ever run.
      return []
    }
    return names
      .filter((name) => name.endsWith('.json'))
      .slice(0, MAX_FILES)
      .map((name) => this.#read(name.slice(0, -'.json'.length)))
      .filter((record) => record !== undefined)
      .sort((a, b) => endOf(a) - endOf(b) || a.startedAt - b.startedAt)
  }

  #read(id: string): CommandRecord | undefined {
    try {
      const stat = lstatSync(this.#path(id))
      const isOurs = stat.isFile() && stat.size <= MAX_FILE_BYTES
      const record = isOurs ? parseRecord(readFileSync(this.#path(id), 'utf8')) : undefined
      if (record?.id === id) return record
      this.remove(id)
    } catch {
      // Removed meanwhile, or a directory that is not ours.
    }
    return undefined
  }

  #path(id: string): string {
    return join(this.#dir, `${id}.json`)
  }

  /** A full disk must not keep a command from running. */
  #try(write: () => void): void {
    try {
      try {
        write()
      } catch (error) {
        if (systemCodeOf(error) !== 'ENOENT') throw error
        // Made at the first command, and again when someone who is root in the sandbox has removed it.
        mkdirSync(this.#dir, { recursive: true, mode: 0o711 })
        write()
      }
      this.#hasFailed = false
    } catch (error) {
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

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** Milliseconds that a date can have. */
function isTime(value: unknown): value is number {
  return isCount(value) && value <= 8.64e15
}
