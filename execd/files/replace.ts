// `POST /files/replace` (contract: execd.md 6.4): bytes, not text, so that what is not UTF-8 stays as it is. All files of a
// request are made ready before the first is changed.

import { readFile } from 'node:fs/promises'
import { execdError } from '../http/answer.ts'
import { asObject, type Body, field, optionalInteger, wrong } from '../http/body.ts'
import { mapInBatches } from './batches.ts'
import { conflict, type Expectation, parseExpectation } from './expectation.ts'
import { nativePath } from './name.ts'
import type { Pace } from './turns.ts'
import { openReplacement, type Replacement, type Writing, writableTarget, writeAll } from './write.ts'

const MAX_REPLACE_BYTES = 256 << 20
const MAX_RESULT_BYTES = 2 ** 30
/** So much is searched at a time, which takes a while for some texts. */
const WINDOW_BYTES = 32 << 10
const WRITE_BYTES = 1 << 20

export type TextChange = {
  key: string
  path: string
  search: Buffer
  replacement: Buffer
  /** How often the text must be there; an addition. */
  expectedCount: number | undefined
  expected: Expectation | undefined
}

/** Reads the body of a request: `{path: {old, new}}`. */
export function parseTextChanges(
  body: Body,
  resolve: (path: string) => string,
  pace: Pace,
): Promise<TextChange[]> {
  return mapInBatches(Object.entries(body), pace, ([key, value]) => {
    const item = asObject(value, key)
    const search = checkReplaceText(field(item, 'old') ?? '', `${key}: old`)
    if (search === '') throw execdError('INVALID_REQUEST_BODY', `${key}: "old" must not be empty`)
    return {
      key,
      path: resolve(key),
      search: Buffer.from(search),
      replacement: Buffer.from(checkReplaceText(field(item, 'new') ?? '', `${key}: new`)),
      expectedCount: optionalInteger(item, 'expected_count'),
      expected: parseExpectation(item, key),
    }
  })
}

/** Makes the changes, or none should one of them not be possible; returns how many texts were replaced, by key. */
export async function replaceTexts(
  changes: TextChange[],
  writing: Writing,
  pace: Pace,
): Promise<Record<string, { replacedCount: number }>> {
  const counts: [string, { replacedCount: number }][] = []
  const ready: Replacement[] = []
  try {
    for (const change of changes) {
      const { count, replacement } = await prepareChange(change, writing, pace)
      counts.push([change.key, { replacedCount: count }])
      if (replacement) ready.push(replacement)
    }
    for (const replacement of ready) await replacement.commit()
  } finally {
    await Promise.all(ready.map((replacement) => replacement.discard()))
  }
  return Object.fromEntries(counts)
}

async function prepareChange(
  { path, search, replacement, expectedCount, expected }: TextChange,
  writing: Writing,
  pace: Pace,
): Promise<{ count: number; replacement?: Replacement }> {
  const target = await writableTarget(path, writing.vital)
  if (!target.existing) throw execdError('FILE_NOT_FOUND', `There is no file "${path}"`)
  if (target.existing.size > MAX_REPLACE_BYTES)
    throw execdError(
      'INVALID_REQUEST_BODY',
      `Cannot replace in "${path}" as it is larger than ${MAX_REPLACE_BYTES} bytes: it has ${target.existing.size}`,
    )
  const content = await readFile(nativePath(target.path))
  let count = 0
  for await (const places of findPlaces(content, search, pace)) count += places.length
  if (expectedCount !== undefined && count !== expectedCount)
    throw conflict(path, `the text is there ${count} times, and not ${expectedCount} times`)
  // A file without the text is left alone.
  if (count === 0) return { count }
  const size = content.length + count * (replacement.length - search.length)
  if (size > MAX_RESULT_BYTES)
    throw execdError(
      'INVALID_REQUEST_BODY',
      `Cannot replace in "${path}" as it would become larger than ${MAX_RESULT_BYTES} bytes: it would have ${size}`,
    )
  const made = await openReplacement(target, { permission: {}, expected, writing })
  try {
    let at = 0
    for await (const bytes of withReplaced(content, { search, replacement }, pace)) {
      await writeAll(made.handle, bytes, at)
      at += bytes.length
    }
  } catch (error) {
    await made.discard()
    throw error
  }
  return { count, replacement: made }
}

function checkReplaceText(value: unknown, name: string): string {
  if (typeof value !== 'string') throw wrong(name, 'a text', value)
  return value
}

/** Where `wanted` is in `content`, from left to right and never overlapping: a few places at a time, as there may be millions. */
async function* findPlaces(content: Buffer, wanted: Buffer, pace: Pace): AsyncGenerator<number[]> {
  for (let from = 0; from < content.length; ) {
    if (pace.isDue) await pace.rest()
    const end = Math.min(from + WINDOW_BYTES, content.length)
    // What begins in this window may end behind it.
    const window = content.subarray(0, end + wanted.length - 1)
    const places: number[] = []
    for (let at = window.indexOf(wanted, from); at >= 0; at = window.indexOf(wanted, from)) {
      places.push(at)
      from = at + wanted.length
    }
    from = Math.max(from, end)
    if (places.length > 0) yield places
  }
}

/** The new content in pieces. A piece is only good until the next one. */
async function* withReplaced(
  content: Buffer,
  { search, replacement }: Pick<TextChange, 'search' | 'replacement'>,
  pace: Pace,
): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(WRITE_BYTES)
  let used = 0
  // Where there are millions of places, all but a few parts go this way.
  const addAtOnce = (source: Buffer, start: number, end: number): boolean => {
    if (end - start > buffer.length - used) return false
    used += source.copy(buffer, used, start, end)
    return true
  }
  function* add(source: Buffer, start: number, end: number): Generator<Buffer> {
    for (let at = start; at < end; ) {
      const copied = source.copy(buffer, used, at, end)
      at += copied
      used += copied
      if (used < buffer.length) continue
      yield buffer
      used = 0
    }
  }
  let from = 0
  for await (const places of findPlaces(content, search, pace))
    for (const at of places) {
      if (!addAtOnce(content, from, at)) yield* add(content, from, at)
      if (!addAtOnce(replacement, 0, replacement.length)) yield* add(replacement, 0, replacement.length)
      from = at + search.length
    }
  yield* add(content, from, content.length)
  yield buffer.subarray(0, used)
}
