import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type CommandRecord, CommandRecords, parseRecord } from '../../../execd/command/records.ts'
import { createSilentLogger } from '../../../lib/log.ts'

const ID = '0123456789abcdef0123456789abcdef'
const RECORD: CommandRecord = {
  id: ID,
  content: 'echo "a\nb"',
  background: true,
  startedAt: 1_760_000_000_000,
  timeoutMs: 5000,
  process: { pid: 42, startTime: 1000, pipes: ['p0', 'p17'] },
}
const END = {
  finishedAt: 1_760_000_000_001,
  exitCode: 3,
  error: 'exit status 3',
  timedOut: false,
  outputBytes: 7,
}

function openRecords(): { records: CommandRecords; dir: string } {
  const parent = mkdtempSync(join(tmpdir(), 'records-'))
  onTestFinished(() => rmSync(parent, { recursive: true, force: true }))
  const dir = join(parent, 'commands')
  return { records: new CommandRecords(dir, createSilentLogger()), dir }
}

describe('CommandRecords', () => {
  test('X7: gives back what was written, in the order of ends and starts, and nobody else can read it', () => {
    const { records, dir } = openRecords()
    records.writeStart(RECORD)
    records.writeEnd(ID, END)
    const earlier = { ...RECORD, id: 'f'.repeat(32), startedAt: 1 }
    records.writeStart(earlier)
    expect(records.load()).toEqual([{ ...RECORD, end: END }, earlier])
    expect(statSync(join(dir, 'records')).mode & 0o777).toBe(0o600)
    records.remove(ID)
    records.remove(ID)
    expect(records.load()).toEqual([earlier])
  })

  test('goes on without a disk, and again once it is back', () => {
    const { records, dir } = openRecords()
    writeFileSync(dir, '')
    records.writeStart(RECORD)
    records.writeEnd(ID, END)
    expect(records.load()).toEqual([])
    rmSync(dir)
    records.writeStart(RECORD)
    expect(records.load()).toEqual([RECORD])
  })

  test('throws away what it has not written', () => {
    const { records, dir } = openRecords()
    mkdirSync(dir)
    const start = JSON.stringify(RECORD)
    const forged = [
      `${ID} {"id":1}`,
      `${'b'.repeat(32)} ${start}`,
      start,
      `${ID}${start}`,
      ID,
      '',
      ' ',
      `${ID} {"fin`,
    ]
    writeFileSync(join(dir, 'records'), forged.join('\n'))
    expect(records.load()).toEqual([])
    expect(readdirSync(dir)).toEqual([])
    for (const make of [
      (path: string) => symlinkSync('/etc/passwd', path),
      (path: string) => execFileSync('mkfifo', [path]),
      (path: string) => mkdirSync(path),
    ]) {
      make(join(dir, 'records'))
      expect(records.load()).toEqual([])
      records.writeStart(RECORD)
      rmSync(join(dir, 'records'), { recursive: true, force: true })
    }
    expect(readFileSync('/etc/passwd', 'utf8')).not.toContain(ID)
  })

  test('goes on after a line that was cut short, and after its file was removed', () => {
    const { records, dir } = openRecords()
    records.writeStart(RECORD)
    appendFileSync(join(dir, 'records'), `${ID} {"finishedAt":17`)
    const next = new CommandRecords(dir, createSilentLogger())
    expect(next.load()).toEqual([RECORD])
    next.writeEnd(ID, END)
    expect(new CommandRecords(dir, createSilentLogger()).load()).toEqual([{ ...RECORD, end: END }])
    rmSync(dir, { recursive: true })
    const later = { ...RECORD, id: 'f'.repeat(32) }
    next.writeStart(later)
    expect(next.load()).toEqual([later])
  })

  test('keeps its file short while commands come and go, and forgets none that is still known', () => {
    const { records, dir } = openRecords()
    records.writeStart(RECORD)
    const ids = Array.from({ length: 20_000 }, (_, n) => n.toString(16).padStart(32, '0'))
    for (const [n, id] of ids.entries()) {
      records.writeStart({ ...RECORD, id })
      records.writeEnd(id, END)
      if (n >= 10) records.remove(ids[n - 10] ?? '')
    }
    expect(statSync(join(dir, 'records')).size).toBeLessThan(3 << 20)
    expect(new CommandRecords(dir, createSilentLogger()).load().map(({ id }) => id)).toEqual([
      ...ids.slice(-10),
      ID,
    ])
    expect(readdirSync(dir)).toEqual(['records'])
  })
})

describe('parseRecord()', () => {
  const start = JSON.stringify(RECORD)

  test.each([
    ['a start', start, RECORD],
    ['a start and an end', `${start}\n${JSON.stringify(END)}\n`, { ...RECORD, end: END }],
    ['an end that is cut short', `${start}\n{"finishedAt":17`, RECORD],
    ['an end that makes no sense', `${start}\n{"finishedAt":"x"}`, RECORD],
    ['an end of another time', `${start}\n${JSON.stringify({ ...END, finishedAt: 9e15 })}`, RECORD],
  ])('reads %s', (_what, text, expected) => {
    expect(parseRecord(text)).toEqual(expected)
  })

  test.each([
    [{ id: '../x' }],
    [{ id: ID.toUpperCase() }],
    [{ content: 1 }],
    [{ background: 'yes' }],
    [{ startedAt: -1 }],
    [{ startedAt: 9e15 }],
    [{ timeoutMs: 1.5 }],
    [{ process: { ...RECORD.process, pid: 1 } }],
    [{ process: { ...RECORD.process, pid: -5 } }],
    [{ process: { ...RECORD.process, startTime: '1' } }],
    [{ process: { ...RECORD.process, pipes: ['../p1'] } }],
    [{ process: { ...RECORD.process, pipes: ['p1', 'p2', 'p3'] } }],
    [{ process: { ...RECORD.process, pipes: 'p1' } }],
    [{ process: [] }],
  ])('refuses %j', (change) => {
    expect(parseRecord(JSON.stringify({ ...RECORD, ...change }))).toBeUndefined()
  })

  test('takes anything without falling over', () => {
    const nearly = fc.json().map((json) => `${start.slice(0, -1)},"process":${json}}\n${json}`)
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), nearly), (text) => {
        const record = parseRecord(text)
        if (record) expect(record.id).toMatch(/^[0-9a-f]{32}$/)
      }),
    )
  })
})
