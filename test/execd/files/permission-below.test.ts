import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { applyPermissionBelow } from '../../../execd/files/permission.ts'
import { Pace, Turns } from '../../../execd/files/turns.ts'

const isRoot = process.getuid?.() === 0
const owner = isRoot ? { uid: 77, gid: 78 } : {}

/** Rests before every step, and does something at one of them. */
class Interrupted extends Pace {
  #steps = 0
  readonly #at: number
  readonly #act: () => void

  constructor(at: number, act: () => void) {
    super(new Turns(), new AbortController().signal)
    this.#at = at
    this.#act = act
  }

  override get isDue(): boolean {
    return true
  }

  override rest(): Promise<void> {
    if (++this.#steps === this.#at) this.#act()
    return Promise.resolve()
  }
}

function makeTree(): { tree: string; outside: string } {
  const dir = mkdtempSync(join(tmpdir(), 'permission-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  for (const name of ['tree', 'outside']) {
    mkdirSync(join(dir, name, 'sub'), { recursive: true })
    writeFileSync(join(dir, name, 'sub/file'), '')
    writeFileSync(join(dir, name, 'sub/other'), '')
    for (const path of ['sub/file', 'sub/other', 'sub']) chmodSync(join(dir, name, path), 0o700)
  }
  return { tree: join(dir, 'tree'), outside: join(dir, 'outside/sub') }
}

const modeOf = (path: string) => lstatSync(path).mode & 0o7777
const shown = (path: string) => ({ mode: modeOf(path), uid: lstatSync(path).uid })

describe('applyPermissionBelow()', () => {
  test('changes all kinds of entries, and follows no link', async () => {
    const { tree, outside } = makeTree()
    symlinkSync(outside, join(tree, 'link'))
    symlinkSync(join(outside, 'file'), join(tree, 'sub/link'))
    execFileSync('mkfifo', ['-m', '600', join(tree, 'pipe')])
    const before = ['.', 'file'].map((name) => shown(join(outside, name)))
    await applyPermissionBelow(tree, { mode: 0o751, ...owner }, new Interrupted(0, () => {}))
    for (const name of ['.', 'sub', 'sub/file', 'sub/other', 'pipe']) {
      expect(modeOf(join(tree, name)), name).toBe(0o751)
      if (isRoot) expect(lstatSync(join(tree, name)).uid, name).toBe(77)
    }
    if (isRoot) expect(lstatSync(join(tree, 'sub/link')).uid).toBe(77)
    expect(['.', 'file'].map((name) => shown(join(outside, name)))).toEqual(before)
  })

  test.each([1, 2, 3])(
    'gives away nothing elsewhere when a link takes the place of a directory at step %i',
    async (step) => {
      const { tree, outside } = makeTree()
      const names = ['.', 'file', 'other']
      const before = names.map((name) => shown(join(outside, name)))
      const swap = () => {
        renameSync(join(tree, 'sub'), join(tree, '../moved'))
        symlinkSync(outside, join(tree, 'sub'))
      }
      await applyPermissionBelow(tree, { mode: 0o777, ...owner }, new Interrupted(step, swap))
      expect(lstatSync(join(tree, 'sub')).isSymbolicLink()).toBe(true)
      expect(names.map((name) => shown(join(outside, name)))).toEqual(before)
    },
  )

  test.each([1, 2, 3])('nor when one takes the place of a file at step %i', async (step) => {
    const { tree, outside } = makeTree()
    const before = shown(join(outside, 'file'))
    const swap = () => {
      for (const name of ['file', 'other']) {
        rmSync(join(tree, 'sub', name))
        symlinkSync(join(outside, 'file'), join(tree, 'sub', name))
      }
    }
    await applyPermissionBelow(tree, { mode: 0o777, ...owner }, new Interrupted(step, swap))
    expect(shown(join(outside, 'file'))).toEqual(before)
  })
})
