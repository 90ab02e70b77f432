import { closeSync, existsSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Journal } from '../../../execd/command/journal.ts'

function openJournal(maxBytes: number): { journal: Journal; path: string } {
  const dir = mkdtempSync(join(tmpdir(), 'journal-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const path = join(dir, 'log')
  return { journal: new Journal({ path, maxBytes }), path }
}

function read(journal: Journal, cursor: number): string {
  let text = ''
  for (const { path, start, end } of journal.parts(cursor)) {
    const fd = openSync(path, 'r')
    const buffer = Buffer.alloc(end - start)
    readSync(fd, buffer, 0, buffer.length, start)
    closeSync(fd)
    text += buffer.toString()
  }
  return text
}

test('a journal gives everything from a cursor on', () => {
  const { journal } = openJournal(100)
  expect(journal.parts(0)).toEqual([])
  journal.append(Buffer.from('hello '))
  journal.append(Buffer.from('world'))
  expect([journal.start, journal.end]).toEqual([0, 11])
  expect(read(journal, 0)).toBe('hello world')
  expect(read(journal, 6)).toBe('world')
  expect(read(journal, 11)).toBe('')
  expect(read(journal, 99)).toBe('')
})

test('a full journal drops its oldest half, and positions stay true', () => {
  const { journal } = openJournal(20)
  for (let at = 0; at < 10; at++) journal.append(Buffer.from(`${at}bcdefg`))
  expect(journal.end).toBe(70)
  expect(journal.end - journal.start).toBeLessThanOrEqual(20)
  expect(journal.end - journal.start).toBeGreaterThanOrEqual(10)
  const all = Array.from({ length: 10 }, (_, at) => `${at}bcdefg`).join('')
  expect(read(journal, 0)).toBe(all.slice(journal.start))
  expect(read(journal, 65)).toBe(all.slice(65))
})

test('bytes more than the journal holds leave the last ones', () => {
  const { journal } = openJournal(10)
  journal.append(Buffer.from('0123456789abcdefghijklm'))
  expect(read(journal, 0)).toBe('fghijklm')
  expect(journal.end).toBe(23)
})

test('a removed journal leaves no file, and takes bytes no more', () => {
  const { journal, path } = openJournal(4)
  journal.append(Buffer.from('0123456789'))
  journal.remove()
  journal.append(Buffer.from('x'))
  expect(existsSync(path) || existsSync(`${path}.1`)).toBe(false)
  expect(journal.end).toBe(10)
})
