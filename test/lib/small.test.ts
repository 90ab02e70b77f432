import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createRequestId, createSandboxId, createToken } from '../../lib/id.ts'
import { instanceOf, makeRunDir } from '../../lib/instance.ts'
import { createLogger, type LogLevel } from '../../lib/log.ts'

test('createSandboxId() makes UUIDs that do not repeat, and DNS labels with any port', () => {
  const ids = Array.from({ length: 2000 }, createSandboxId)
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids.filter((id) => !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id))).toEqual([])
})

test('tokens and request ids are hex of their length', () => {
  expect(createToken()).toMatch(/^[0-9a-f]{64}$/)
  expect(createRequestId()).toMatch(/^[0-9a-f]{32}$/)
})

test('instanceOf() names one data directory alike by every path, and another one differently', () => {
  const folder = mkdtempSync(join(tmpdir(), 'instance-'))
  const other = mkdtempSync(join(tmpdir(), 'instance-'))
  const link = `${folder}-link`
  symlinkSync(folder, link)
  onTestFinished(() => {
    for (const path of [folder, other, link]) rmSync(path, { recursive: true, force: true })
  })
  expect(instanceOf(link)).toEqual(instanceOf(folder))
  expect(instanceOf(other).runDir).not.toBe(instanceOf(folder).runDir)
  expect(instanceOf(folder).interfacePrefix).toHaveLength(7)
  expect(instanceOf(folder).feedSocket.length).toBeLessThan(100)
})

test('a logger writes one line per event, whatever a caller puts in', () => {
  const lines: string[] = []
  const log = createLogger({ program: 'p', write: (line) => lines.push(line), now: () => new Date(0) })
  log.info('hello', { id: 'a', text: 'two\nlines "x"', n: 3, gone: undefined })
  log.debug('not shown')
  log.error('first\nsecond', { error: new Error('broke', { cause: new Error('root') }) })
  expect(lines).toEqual([
    '1970-01-01T00:00:00.000Z info p hello id=a text="two\\nlines \\"x\\"" n=3\n',
    '1970-01-01T00:00:00.000Z error p "first\\nsecond" error="broke (cause: root)"\n',
  ])
})

test('a logger follows a level that changes', () => {
  const lines: string[] = []
  let level: LogLevel = 'warn'
  const log = createLogger({ program: 'p', level: () => level, write: (line) => lines.push(line) })
  log.info('not yet')
  level = 'debug'
  log.debug('now')
  level = 'error'
  log.warn('not any more')
  expect(lines).toEqual([expect.stringContaining('debug p now')])
})

test('makeRunDir() leaves the way to the roots of sandboxes open, whoever made the directory above before', () => {
  const folder = mkdtempSync(join(tmpdir(), 'run-dir-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const runRoot = join(folder, 'run')
  mkdirSync(runRoot, { mode: 0o700 })
  const instance = instanceOf(folder, runRoot)
  makeRunDir(instance)
  makeRunDir(instance)
  expect([runRoot, instance.runDir].map((path) => statSync(path).mode & 0o777)).toEqual([0o755, 0o700])
})
