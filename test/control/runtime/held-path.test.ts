// Paths that others can change while they are looked at.

import { execFileSync } from 'node:child_process'
import {
  lstatSync,
  mkdirSync,
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
import { holdBelow, holdPath, LeadsAway, makeDirectory } from '../../../control/runtime/held-path.ts'

const OWNER = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
let dir: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'held-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  mkdirSync(join(dir, 'volume/inner'), { recursive: true })
  mkdirSync(join(dir, 'outside'))
  writeFileSync(join(dir, 'volume/file'), 'text')
  writeFileSync(join(dir, 'outside/secret'), 'secret')
})

describe('holdPath()', () => {
  test('holds the very thing, whatever its name becomes', async () => {
    await using held = await holdPath(join(dir, 'volume/inner'))
    renameSync(join(dir, 'volume/inner'), join(dir, 'volume/moved'))
    symlinkSync(join(dir, 'outside'), join(dir, 'volume/inner'))
    expect(held.isDirectory).toBe(true)
    expect(readdirSync(held.link)).toEqual([])
    expect(held.inode).toBe(lstatSync(join(dir, 'volume/moved')).ino)
  })

  test('holds a file', async () => {
    await using held = await holdPath(join(dir, 'volume/file'))
    expect(held.isDirectory).toBe(false)
    expect(readFileSync(held.link, 'utf8')).toBe('text')
  })

  test('S22: follows no link, neither the last name nor one before it', async () => {
    symlinkSync(join(dir, 'outside'), join(dir, 'volume/link'))
    symlinkSync('inner', join(dir, 'volume/near'))
    for (const path of ['volume/link', 'volume/link/secret', 'volume/near', 'volume/file/x'])
      await expect(holdPath(join(dir, path)), path).rejects.toThrow(LeadsAway)
  })

  test('says when nothing is there, and leaves nothing open', async () => {
    const open = () => readdirSync('/proc/self/fd').length
    const before = open()
    await expect(holdPath(join(dir, 'volume/none'))).rejects.toMatchObject({ code: 'ENOENT' })
    expect(open()).toBe(before)
  })
})

describe('holdBelow()', () => {
  test.each([
    ['', ''],
    ['inner', 'inner'],
    ['inner/new/deep', 'inner/new/deep'],
    ['near/new', 'inner/new'],
  ])('%j is what lies at %j', async (relative, wanted) => {
    symlinkSync('inner', join(dir, 'volume/near'))
    await using held = await holdBelow(join(dir, 'volume'), relative, OWNER)
    expect(held.isDirectory).toBe(true)
    expect(held.inode).toBe(lstatSync(join(dir, 'volume', wanted)).ino)
  })

  test.each([
    ['absolute', () => join(dir, 'outside')],
    ['relative', () => '../../outside'],
    ['to a file outside', () => join(dir, 'outside/secret')],
    ['to nothing', () => '../../none'],
    ['to itself', () => 'evil'],
  ])('S22: a link out of the volume leads nowhere: %s', async (_, to) => {
    symlinkSync(to(), join(dir, 'volume/inner/evil'))
    for (const relative of ['inner/evil', 'inner/evil/new'])
      await expect(holdBelow(join(dir, 'volume'), relative, OWNER), relative).rejects.toThrow(LeadsAway)
    expect(readdirSync(join(dir, 'outside'))).toEqual(['secret'])
  })

  test('S22: a name that is swapped for a link all the time never leads out', async () => {
    const volume = join(dir, 'volume')
    const swapper = `cd ${volume}; while :; do rm -rf inner; ln -s ../outside inner; rm -f inner; mkdir inner; done`
    const { spawn } = await import('node:child_process')
    const child = spawn('sh', ['-c', swapper], { stdio: 'ignore' })
    onTestFinished(() => void child.kill('SIGKILL'))
    const outside = lstatSync(join(dir, 'outside')).ino
    let held = 0
    for (let at = 0; at < 400; at++) {
      try {
        await using found = await holdBelow(volume, 'inner/sub', OWNER)
        held += 1
        expect(found.inode).not.toBe(outside)
      } catch (error) {
        if (!(error instanceof LeadsAway)) expect(error).toHaveProperty('code')
      }
    }
    child.kill('SIGKILL')
    expect(held).toBeGreaterThan(0)
    expect(readdirSync(join(dir, 'outside'))).toEqual(['secret'])
  })
})

test('S22: makeDirectory() makes what is missing, and nothing behind a link', async () => {
  await makeDirectory(join(dir, 'volume/a/b/c'), OWNER)
  expect(lstatSync(join(dir, 'volume/a/b/c')).isDirectory()).toBe(true)
  symlinkSync(join(dir, 'outside'), join(dir, 'volume/link'))
  await expect(makeDirectory(join(dir, 'volume/link/new'), OWNER)).rejects.toThrow(LeadsAway)
  expect(readdirSync(join(dir, 'outside'))).toEqual(['secret'])
  expect(execFileSync('find', [join(dir, 'outside')], { encoding: 'utf8' })).not.toContain('new')
})
