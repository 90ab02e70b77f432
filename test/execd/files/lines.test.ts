import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { readLines } from '../../../execd/files/lines.ts'

const dir = mkdtempSync(join(tmpdir(), 'lines-test-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** What the contract says, without a thought of memory. */
function expected(content: string, offset: number, limit: number): string {
  const lines = content.split('\n')
  if (lines.at(-1) === '') lines.pop()
  return lines
    .map((line) => line.replace(/\r$/, ''))
    .slice(offset - 1, offset - 1 + limit)
    .join('\n')
}

async function linesOf(content: string | Buffer, offset: number, limit: number): Promise<Buffer> {
  const path = join(dir, 'file')
  writeFileSync(path, content)
  const handle = await open(path)
  try {
    const pieces: Buffer[] = []
    for await (const piece of readLines(handle, { offset, limit })) pieces.push(piece)
    return Buffer.concat(pieces)
  } finally {
    await handle.close()
  }
}

test('readLines() gives any window of any content', async () => {
  const content = fc
    .array(fc.constantFrom('a', 'bc', '\r', '\n', '\r\n', 'ä'))
    .map((pieces) => pieces.join(''))
  const limit = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constant(Number.POSITIVE_INFINITY))
  await fc.assert(
    fc.asyncProperty(content, fc.integer({ min: 1, max: 6 }), limit, async (text, offset, count) => {
      expect((await linesOf(text, offset, count)).toString()).toBe(expected(text, offset, count))
    }),
  )
})

test.each([-2, -1, 0, 1])('readLines() does not mind where it reads on: %i', async (shift) => {
  const head = 'x'.repeat((64 << 10) + shift)
  for (const rest of ['\r\nb\r\n', '\nb', '\r\r\nb\n', 'y\n\nb\r'])
    for (const offset of [1, 2, 3])
      expect((await linesOf(head + rest, offset, 2)).toString()).toBe(expected(head + rest, offset, 2))
})

test('readLines() gives bytes that are no text as they are', async () => {
  expect([...(await linesOf(Buffer.from([0xff, 0x0a, 0, 0x80, 0x0d, 0x0a]), 1, 9))]).toEqual([
    0xff, 0x0a, 0, 0x80,
  ])
})
