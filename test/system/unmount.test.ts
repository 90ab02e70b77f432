// Taking away what is mounted at a place, whatever the place is called. Needs root, because something is mounted there.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { unmountAll } from '../../control/runtime/staged-mounts.ts'
import { mountPointsIn } from '../../lib/mountinfo.ts'
import { runProgram } from '../../lib/run-program.ts'

const mounted = () => mountPointsIn(readFileSync('/proc/self/mountinfo', 'utf8'))
const mount = (...args: string[]) => execFileSync('mount', args)

test.each(['plain', 'a b', 'a\tb', 'a\nb', 'a\\b', 'a\\040b', '#a', '-a', "a'b", 'a,b:c', 'ü'])(
  'unmountAll() takes away all that lies at %j, and nothing else',
  async (name) => {
    const folder = mkdtempSync(join(tmpdir(), 'unmount-'))
    const [path, other] = [join(folder, name), join(folder, `${name} more`)]
    onTestFinished(() => {
      for (const left of mounted().filter((point) => point.startsWith(folder)))
        execFileSync('umount', ['--lazy', '--no-canonicalize', left])
      rmSync(folder, { recursive: true, force: true })
    })
    for (const each of [path, other]) mkdirSync(each)
    for (const each of [path, path, other]) mount('-t', 'tmpfs', 'tmpfs', each)
    await unmountAll(path, runProgram, AbortSignal.timeout(20_000))
    expect(mounted().filter((point) => point.startsWith(folder))).toEqual([other])
    // Nothing is mounted there now, and that is fine.
    await unmountAll(path, runProgram, AbortSignal.timeout(20_000))
  },
)

test('unmountAll() is not misled by what is mounted elsewhere from a directory of the same path', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'unmount-'))
  const disk = join(folder, 'disk')
  // Within the file system, the directory that is bound has the path that the place has on the machine.
  const [within, place] = [join(disk, folder, 'place'), join(folder, 'place')]
  for (const each of [disk, place]) mkdirSync(each)
  mount('-t', 'tmpfs', 'tmpfs', disk)
  onTestFinished(() => {
    execFileSync('umount', [join(folder, 'elsewhere')])
    execFileSync('umount', [disk])
    rmSync(folder, { recursive: true, force: true })
  })
  mkdirSync(within, { recursive: true })
  mkdirSync(join(folder, 'elsewhere'))
  mount('--bind', within, join(folder, 'elsewhere'))
  await unmountAll(place, runProgram, AbortSignal.timeout(20_000))
  expect(mounted()).toContain(join(folder, 'elsewhere'))
})
