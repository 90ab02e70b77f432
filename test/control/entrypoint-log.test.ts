import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readEntrypointLog } from '../../control/runtime/entrypoint-log.ts'
import { lastWords } from '../../control/sandbox/last-output.ts'

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'entrypoint-log-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

test('readEntrypointLog() puts the newest older file before the current one, and cuts at the front', () => {
  const dir = folder()
  expect(readEntrypointLog(dir, 100)).toBeUndefined()
  writeFileSync(join(dir, 'entrypoint.log'), 'current')
  writeFileSync(join(dir, 'entrypoint.log.50'), 'older ')
  writeFileSync(join(dir, 'entrypoint.log.7'), 'oldest ')
  writeFileSync(join(dir, 'entrypoint.log.new'), 'none of it')
  expect(readEntrypointLog(dir, 100)?.toString()).toBe('older current')
  expect(readEntrypointLog(dir, 9)?.toString()).toBe('r current')
  expect(readEntrypointLog(dir, 3)?.toString()).toBe('ent')
  expect(readEntrypointLog(join(dir, 'gone'), 3)).toBeUndefined()
})

test('readEntrypointLog() does not follow what the root of a sandbox puts in its place', () => {
  const secret = join(folder(), 'secret')
  writeFileSync(secret, 'of the host')
  const put: ((path: string) => void)[] = [
    (path) => symlinkSync(secret, path),
    (path) => execFileSync('mkfifo', [path]),
    (path) => mkdirSync(path),
  ]
  for (const make of put) {
    const dir = folder()
    make(join(dir, 'entrypoint.log'))
    expect(readEntrypointLog(dir, 100)).toBeUndefined()
  }
})

test('readEntrypointLog() does not read on for ever in a directory that a sandbox has filled', () => {
  const dir = folder()
  for (let number = 0; number < 3000; number++) writeFileSync(join(dir, `entrypoint.log.${number}`), 'x')
  writeFileSync(join(dir, 'entrypoint.log'), 'current')
  expect(readEntrypointLog(dir, 100)?.toString()).toMatch(/^x?current$/)
})

test.each([
  ['', ''],
  ['\n\n', ''],
  ['a\nb\r\nc', 'a | b | c'],
  ['1\n2\n3\n4\n5\n6\n', '2 | 3 | 4 | 5 | 6'],
  ['\u001b[1;31mred\u001b[0m\u0007', 'red'],
  ['x'.repeat(1000), `…${'x'.repeat(600)}`],
])('lastWords(%j) is %j', (text, words) => {
  expect(lastWords(text)).toBe(words)
})
