// What root changes is what it has made, and not what a link leads to that was put in its place.

import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { keepAttributes } from '../../execd/files/keep-attributes.ts'
import { makeCwd } from '../../execd/make-cwd.ts'
import { giveDirectories, makeDirectories } from '../../execd/make-directories.ts'

const isRoot = process.getuid?.() === 0
const NOBODY = { uid: 65534, gid: 65534 }

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'place-test-'))
  const made = dir
  onTestFinished(() => rmSync(made, { recursive: true, force: true }))
})

describe('directories that are made for a user', () => {
  beforeEach((context) => {
    if (!isRoot) context.skip('only root can give something away')
  })

  test('are given to them, and nothing above', () => {
    const path = join(dir, 'a/b/c')
    const first = makeDirectories(path) ?? ''
    expect(first).toBe(join(dir, 'a'))
    giveDirectories(first, path, NOBODY)
    expect(['a', 'a/b', 'a/b/c'].map((name) => lstatSync(join(dir, name)).uid)).toEqual([65534, 65534, 65534])
    expect(lstatSync(dir).uid).toBe(0)
  })

  test('are not looked for behind a link that was put in the place of one', () => {
    mkdirSync(join(dir, 'secret/b'), { recursive: true })
    mkdirSync(join(dir, 'home'))
    symlinkSync(join(dir, 'secret'), join(dir, 'home/a'))
    expect(() => giveDirectories(join(dir, 'home/a'), join(dir, 'home/a/b'), NOBODY)).toThrow('ENOTDIR')
    expect(lstatSync(join(dir, 'secret/b')).uid).toBe(0)
    expect(lstatSync(join(dir, 'home/a')).uid).toBe(0)
  })

  test('may have names that are not UTF-8', () => {
    makeCwd(`${dir}/\udcff/x`, NOBODY)
    const name = Buffer.concat([Buffer.from(`${dir}/`), Buffer.of(0xff)])
    expect(lstatSync(name).uid).toBe(65534)
  })
})

describe('what a copy keeps', () => {
  test('of a file, a directory and a link are mode and times', () => {
    writeFileSync(join(dir, 'from'), '')
    chmodSync(join(dir, 'from'), 0o4711)
    mkdirSync(join(dir, 'from-dir'), { mode: 0o750 })
    symlinkSync('nowhere', join(dir, 'from-link'))
    writeFileSync(join(dir, 'to'), '')
    mkdirSync(join(dir, 'to-dir'))
    symlinkSync('nowhere', join(dir, 'to-link'))
    for (const kind of ['', '-dir', '-link']) {
      const wanted = Object.assign(lstatSync(join(dir, `from${kind}`)), {
        mtimeMs: 1_000_000,
        atimeMs: 2_000_000,
      })
      keepAttributes(join(dir, `to${kind}`), wanted)
      const found = lstatSync(join(dir, `to${kind}`))
      expect([found.mode, found.mtimeMs]).toEqual([wanted.mode, 1_000_000])
    }
  })

  test('goes to nothing that a link leads to which was put in its place', () => {
    writeFileSync(join(dir, 'from'), '')
    chmodSync(join(dir, 'from'), 0o4755)
    writeFileSync(join(dir, 'secret'), '', { mode: 0o600 })
    symlinkSync('secret', join(dir, 'to'))
    expect(() => keepAttributes(join(dir, 'to'), statSync(join(dir, 'from')))).toThrow('something else')
    expect(statSync(join(dir, 'secret')).mode & 0o7777).toBe(0o600)
  })
})
