import { execFileSync } from 'node:child_process'
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { readJson, waitForJson } from '../../control/runtime/watch-file.ts'
import { waitFor } from '../support/wait-for.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'watch-file-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
})

describe('readJson() takes nothing from a sandbox but a small regular file', () => {
  const at = (name: string) => join(folder, name)

  test('a file with JSON', () => {
    writeFileSync(at('a'), '{"exitCode":3}')
    expect(readJson(at('a'))).toEqual({ exitCode: 3 })
  })

  test('no file', () => {
    expect(readJson(at('none'))).toBeUndefined()
  })

  test('a link to a file of the host', () => {
    writeFileSync(at('secret'), '{"secret":1}')
    symlinkSync(at('secret'), at('link'))
    expect(readJson(at('link'))).toBeUndefined()
  })

  test('a pipe, which would hold the reader for ever', () => {
    execFileSync('mkfifo', [at('pipe')])
    expect(readJson(at('pipe'))).toBeUndefined()
  })

  test('a file that is too large, and one that is no JSON', () => {
    writeFileSync(at('large'), `"${'x'.repeat(70_000)}"`)
    writeFileSync(at('text'), 'hello')
    expect(readJson(at('large'))).toBeUndefined()
    expect(readJson(at('text'))).toBeUndefined()
  })
})

describe('waitForJson()', () => {
  test('gives a file that is there, and one that comes', async () => {
    const waiting = waitForJson<{ ok: boolean }>(folder, 'ready.json', AbortSignal.timeout(5000))
    writeFileSync(join(folder, 'ready.json.new'), '{"ok":true}')
    renameSync(join(folder, 'ready.json.new'), join(folder, 'ready.json'))
    expect(await waiting).toEqual({ ok: true })
    expect(await waitForJson(folder, 'ready.json', AbortSignal.timeout(5000))).toEqual({ ok: true })
  })

  test("ends with the signal's reason", async () => {
    await expect(waitForJson(folder, 'never', AbortSignal.abort(new Error('enough')))).rejects.toThrow(
      'enough',
    )
  })

  test('does not go on watching a folder in which a sandbox makes changes without end', async () => {
    const before = countWatches()
    const waiting = waitForJson(folder, 'ready.json', AbortSignal.timeout(20_000))
    expect(countWatches()).toBe(before + 1)
    for (let made = 0; made < 1000; made++) writeFileSync(join(folder, `noise${made}`), '')
    await waitFor(() => expect(countWatches()).toBe(before))
    writeFileSync(join(folder, 'new'), '{"ok":true}')
    renameSync(join(folder, 'new'), join(folder, 'ready.json'))
    expect(await waiting).toEqual({ ok: true })
  })
})

/** How many files and folders this process has the kernel watch. */
function countWatches(): number {
  return readdirSync('/proc/self/fdinfo')
    .map((fd) => {
      try {
        return readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8').match(/^inotify wd:/gm)?.length ?? 0
      } catch {
        return 0 // closed meanwhile
      }
    })
    .reduce((sum, count) => sum + count, 0)
}
