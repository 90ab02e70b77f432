// What one life of execd leaves to the next: lines of JSON in a file without a name, which init.sh opens once and every life
// inherits. A later line adds to the earlier ones; one that was cut short by the end of a life counts as none.

import { fstatSync, readSync, writeSync } from 'node:fs'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { Life } from './command/marks.ts'
import type { CommandRecord } from './command/records.ts'
import type { Holder } from './keeper.ts'

const MAX_BYTES = 64 << 20
/** A life that was shorter, after several of them, is followed by a pause. */
const SHORT_MS = 2000
const MAX_SHORT_LIVES = 3

export type Notes = {
  life?: Life & { startedAt: number; shortBefore: number }
  /** The boot file, as it was. */
  boot?: string
  /** The environment that a script before the entrypoint has made. */
  env?: Record<string, string>
  /** Where execd listens. */
  port?: number
  /** What holds that port, and the end of the entrypoint, while execd is away. */
  holders?: Holder[]
  /** How far the hook before the entrypoint has come. */
  preStart?: 'begun' | 'done'
  /** It was about to be started; `process` once it was. */
  entrypoint?: { process?: NonNullable<CommandRecord['process']> }
}

export type State = {
  /** What earlier lives have left; empty in the first. */
  before: Notes
  life: Life
  /** Whether the lives before ended as soon as they had begun, one after the other. */
  isRestless: boolean
  /** Whether this life is followed by another one, should it end unasked. */
  isFollowed: boolean
  note(notes: Notes): void
}

/** Reads what earlier lives have left. Without a descriptor there is no later life, and nothing is kept. */
export function openState(descriptor: string | undefined, log: Logger): State {
  const fd = descriptor !== undefined && /^\d{1,4}$/.test(descriptor) ? Number(descriptor) : undefined
  let before: Notes = {}
  try {
    if (fd !== undefined) before = readNotes(fd)
  } catch (error) {
    log.warn('cannot read what an earlier execd has left', { error: messageOf(error) })
  }
  const now = Date.now()
  const shortBefore = before.life && now - before.life.startedAt < SHORT_MS ? before.life.shortBefore + 1 : 0
  // Different from all others is enough: who knows it can do nothing with it.
  const id = before.life?.id ?? `${process.pid}-${now.toString(36)}-${process.hrtime.bigint().toString(36)}`
  const life = { id, number: (before.life?.number ?? 0) + 1 }
  const note = (notes: Notes) => {
    if (fd === undefined) return
    try {
      // At its end whatever the position: that is shared with the lives before.
      writeSync(fd, `${JSON.stringify(notes)}\n`, fstatSync(fd).size)
    } catch (error) {
      log.warn('cannot note what a later execd would need', { error: messageOf(error) })
    }
  }
  note({ life: { ...life, startedAt: now, shortBefore } })
  return { before, life, isRestless: shortBefore >= MAX_SHORT_LIVES, isFollowed: fd !== undefined, note }
}

function readNotes(fd: number): Notes {
  const bytes = Buffer.alloc(Math.min(fstatSync(fd).size, MAX_BYTES))
  readSync(fd, bytes, 0, bytes.length, 0)
  const notes: Notes = {}
  for (const line of bytes.toString('utf8').split('\n')) {
    try {
      Object.assign(notes, JSON.parse(line))
    } catch {
      // Cut short, or the nothing after the last line.
    }
  }
  return notes
}
