import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { leaveNoCore } from '../../egress/leave-no-core.ts'

const FILE = join(import.meta.dirname, '../../egress/leave-no-core.ts')

test('a core of the program has nothing of its memory', () => {
  const program = `import { leaveNoCore } from ${JSON.stringify(FILE)}
leaveNoCore({ warn: (text) => console.log(text) })
console.log((await import('node:fs')).readFileSync('/proc/self/coredump_filter', 'utf8').trim())`
  const printed = execFileSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
  })
  expect(Number.parseInt(printed, 16)).toBe(0)
})

test('where that cannot be said, there is a warning', () => {
  const warnings: string[] = []
  leaveNoCore({ warn: (text) => void warnings.push(text) }, '/proc/self/nothing/coredump_filter')
  expect(warnings).toEqual([expect.stringContaining('core file')])
})
