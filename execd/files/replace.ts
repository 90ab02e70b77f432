// `POST /files/replace` (contract: execd.md 6.4): bytes, not text, so that what is not UTF-8 stays as it is. All files of a
// request are made ready before the first is changed.

import { readFile } from 'node:fs/promises'
import { execdError } from '../http/answer.ts'
import { asObject, type Body, field, optionalInteger, wrong } from '../http/body.ts'
import { conflict, type Expectation, parseExpectation } from './expectation.ts'
import { nativePath } from './name.ts'
import { openReplacement, type Replacement, type Writing, writableTarget } from './write.ts'

const MAX_REPLACE_BYTES = 256 << 20

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
export function parseTextChanges(body: Body, resolve: (path: string) => string): TextChange[] {
  return Object.entries(body).map(([key, value]) => {
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
): Promise<Record<string, { replacedCount: number }>> {
  const counts: [string, { replacedCount: number }][] = []
  const ready: Replacement[] = []
  try {
    for (const change of changes) {
      const { count, replacement } = await prepareChange(change, writing)
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
): Promise<{ count: number; replacement?: Replacement }> {
  const target = await writableTarget(path, writing.vital)
  if (!target.existing) throw execdError('FILE_NOT_FOUND', `There is no file "${path}"`)
  if (target.existing.size > MAX_REPLACE_BYTES)
    throw execdError(
      'INVALID_REQUEST_BODY',
      `Cannot replace in "${path}" as it is larger than ${MAX_REPLACE_BYTES} bytes: it has ${target.existing.size}`,
    )
  const pieces = splitBytes(await readFile(nativePath(target.path)), search)
  const count = pieces.length - 1
  if (expectedCount !== undefined && count !== expectedCount)
    throw conflict(path, `the text is there ${count} times, and not ${expectedCount} times`)
  // A file without the text is left alone.
  if (count === 0) return { count }
  const made = await openReplacement(target, { permission: {}, expected, writing })
  try {
    await made.handle.writeFile(joinBytes(pieces, replacement))
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

function splitBytes(content: Buffer, separator: Buffer): Buffer[] {
  const pieces: Buffer[] = []
  let from = 0
  for (let at = content.indexOf(separator); at >= 0; at = content.indexOf(separator, from)) {
    pieces.push(content.subarray(from, at))
    from = at + separator.length
  }
  pieces.push(content.subarray(from))
  return pieces
}

function joinBytes(pieces: Buffer[], between: Buffer): Buffer {
  return Buffer.concat(pieces.flatMap((piece, index) => (index === 0 ? [piece] : [between, piece])))
}
