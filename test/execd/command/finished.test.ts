import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Command } from '../../../execd/command/command.ts'
import { FinishedCommands } from '../../../execd/command/finished.ts'
import { Journal } from '../../../execd/command/journal.ts'

type Shelf = {
  finished: FinishedCommands
  forgotten: string[]
  add(id: string, more?: Partial<Command>, output?: Buffer): Command
}

function shelf(): Shelf {
  const dir = mkdtempSync(join(tmpdir(), 'finished-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const forgotten: string[] = []
  const finished = new FinishedCommands(({ id }) => forgotten.push(id))
  const add: Shelf['add'] = (id, more = {}, output = Buffer.alloc(0)) => {
    const journal = new Journal({ path: join(dir, id), maxBytes: () => 1 << 30, memoryBytes: 64 << 10 })
    journal.append(output)
    const command: Command = {
      id,
      content: 'x',
      background: true,
      startedAt: 0,
      finishedAt: Date.now(),
      hasScript: false,
      timedOut: false,
      journal,
      ended: Promise.resolve({ exitCode: 0 }),
      ...more,
    }
    finished.add(command)
    return command
  }
  return { finished, forgotten, add }
}

describe('FinishedCommands', () => {
  test('R11: keeps a day, and not longer', () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const { finished, forgotten, add } = shelf()
    add('old')
    vi.advanceTimersByTime(23 * 3_600_000)
    add('young')
    expect(finished.find('old')).toBeDefined()
    vi.advanceTimersByTime(2 * 3_600_000)
    finished.sweep()
    expect(forgotten).toEqual(['old'])
    expect(finished.find('young')?.id).toBe('young')
  })

  test('a row of quick commands does not push out the one whose result nobody has asked for', () => {
    const { finished, forgotten, add } = shelf()
    add('precious')
    for (let count = 0; count < 3000; count++) add(`told-${count}`, { isTold: true })
    expect(finished.find('precious')).toBeDefined()
    expect(forgotten[0]).toBe('told-0')
    expect(finished.all().length).toBe(501)
    for (let count = 0; count < 2500; count++) add(`untold-${count}`)
    expect(finished.all().length).toBe(2500)
    expect(finished.find('precious')).toBeUndefined()
  })

  test('bounds the memory that texts and outputs take, the oldest first', () => {
    const { finished, forgotten, add } = shelf()
    for (let count = 0; count < 300; count++) add(`long-${count}`, { content: 'x'.repeat(64 << 10) })
    finished.sweep()
    expect(forgotten[0]).toBe('long-0')
    expect(finished.all().length).toBe((8 << 20) / (64 << 10))
    const other = shelf()
    const commands = Array.from({ length: 100 }, (_, count) =>
      other.add(`out-${count}`, {}, Buffer.alloc(60 << 10)),
    )
    other.finished.sweep()
    expect(other.forgotten).toEqual([])
    const inMemory = commands.reduce((sum, { journal }) => sum + journal.bytesInMemory, 0)
    expect(inMemory).toBeLessThanOrEqual(2 << 20)
    expect([commands[0]?.journal.bytesOnDisk, commands[99]?.journal.bytesInMemory]).toEqual([
      60 << 10,
      60 << 10,
    ])
    for (const { journal } of commands) expect(journal.end).toBe(60 << 10)
  })
})
