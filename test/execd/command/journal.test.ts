import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { Journal } from '../../../execd/command/journal.ts'

function openJournal(maxBytes: number, memoryBytes = 0): { journal: Journal; path: string } {
  const dir = mkdtempSync(join(tmpdir(), 'journal-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const path = join(dir, 'log')
  return { journal: new Journal({ path, maxBytes: () => maxBytes, memoryBytes }), path }
}

function read(journal: Journal, cursor: number): string {
  const reading = journal.open(cursor)
  const text = Buffer.concat([...reading.chunks()]).toString()
  expect(text).toHaveLength(reading.length)
  expect(text.slice(-4)).toBe(reading.tail().toString())
  reading.close()
  return text
}

test('a journal gives everything from a cursor on', () => {
  const { journal } = openJournal(100)
  expect(read(journal, 0)).toBe('')
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
  expect(readdirSync(dirname(path))).toEqual([])
  expect(journal.end).toBe(10)
})

test('L1: a journal whose files someone removes or cuts short gives what there still is', () => {
  const { journal, path } = openJournal(100)
  journal.append(Buffer.from('0123456789'))
  truncateSync(path, 4)
  expect(read(journal, 0)).toBe('0123')
  expect(read(journal, 6)).toBe('')
  rmSync(path)
  expect(read(journal, 0)).toBe('')
  rmSync(dirname(path), { recursive: true })
  const reading = journal.open(0)
  expect([reading.length, reading.end]).toEqual([0, 10])
})

test('little output stays in memory, and goes to disk when it is more or when it is told to', () => {
  const { journal, path } = openJournal(100, 8)
  for (const byte of 'abcdefgh') journal.append(Buffer.from(byte))
  expect([existsSync(path), journal.hasFile, journal.bytesInMemory, journal.bytesOnDisk]).toEqual([
    false,
    false,
    8,
    0,
  ])
  expect(read(journal, 3)).toBe('defgh')
  journal.append(Buffer.from('ij'))
  expect(readFileSync(path, 'utf8')).toBe('abcdefghij')
  expect([journal.bytesInMemory, journal.bytesOnDisk]).toEqual([0, 10])
  expect(read(journal, 3)).toBe('defghij')
  const other = openJournal(100, 8)
  other.journal.toDisk()
  expect([other.journal.hasFile, existsSync(other.path)]).toEqual([true, true])
  other.journal.append(Buffer.from('x'))
  expect(readFileSync(other.path, 'utf8')).toBe('x')
})

test('what was put into memory is not changed by who gave it', () => {
  const { journal } = openJournal(1000, 500)
  const bytes = Buffer.from('mine')
  for (let count = 0; count < 100; count++) {
    journal.append(bytes)
    bytes.fill('x')
    bytes.write('mine')
  }
  bytes.fill('x')
  expect(read(journal, 0)).toBe('mine'.repeat(100))
})

test('a journal that finds no place on disk keeps what is in memory, and tells what it lost', () => {
  const { journal, path } = openJournal(100, 8)
  journal.append(Buffer.from('before'))
  writeFileSync(join(dirname(path), 'file'), '')
  const lost = new Journal({ path: join(dirname(path), 'file/log'), maxBytes: () => 100, memoryBytes: 8 })
  lost.append(Buffer.from('before'))
  lost.toDisk()
  expect(lost.lostError).toBeUndefined()
  lost.append(Buffer.from('too much'))
  expect(lost.lostError).toMatchObject({ code: 'ENOTDIR' })
  expect(read(lost, 0)).toBe('before')
  expect(lost.end).toBe(6)
})

test('a journal that is opened again has the same positions and goes on where it was', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 12 }), { maxLength: 30 }),
      fc.nat(30),
      fc.integer({ min: 2, max: 40 }),
      (texts, restartAt, maxBytes) => {
        const dir = mkdtempSync(join(tmpdir(), 'journal-'))
        const options = { path: join(dir, 'log'), maxBytes: () => maxBytes }
        let journal = new Journal(options)
        try {
          for (const [index, text] of texts.entries()) {
            if (index === restartAt) {
              const before = [journal.start, journal.end, read(journal, 0)]
              journal = Journal.restore(options)
              expect([journal.start, journal.end, read(journal, 0)]).toEqual(before)
            }
            journal.append(Buffer.from(text))
          }
          const all = texts.join('')
          expect(journal.end).toBe(all.length)
          expect(read(journal, 0)).toBe(all.slice(journal.start))
          expect(readdirSync(dir).length).toBeLessThanOrEqual(2)
        } finally {
          rmSync(dir, { recursive: true })
        }
      },
    ),
  )
})

test('a journal of which execd was killed between its two files is whole', () => {
  const { path } = openJournal(20)
  writeFileSync(`${path}.0`, '0123456789')
  writeFileSync(`${path}.10`, 'abcdefghij')
  const journal = Journal.restore({ path, maxBytes: () => 20 })
  expect([journal.start, journal.end]).toEqual([10, 20])
  journal.append(Buffer.from('k'))
  expect(read(journal, 0)).toBe('abcdefghijk')
  expect(existsSync(`${path}.0`)).toBe(false)
})
