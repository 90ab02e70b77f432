// Who goes first, seen from a process of its own: this one is to stay as it is.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const isRoot = process.getuid?.() === 0

const SCRIPT = `
import { readdirSync, readFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { goFirst } from ${JSON.stringify(join(import.meta.dirname, '../../control/go-first.ts'))}
import { createSilentLogger } from ${JSON.stringify(join(import.meta.dirname, '../../lib/log.ts'))}
import { outputOf } from ${JSON.stringify(join(import.meta.dirname, '../../lib/run-program.ts'))}
const before = readdirSync('/proc/self/task')
await goFirst(createSilentLogger())
const threads = before.map((thread) => getPriority(Number(thread)))
const started = Number((await outputOf('nice', [])).trim())
console.log(JSON.stringify({ threads, started }))
`

const run = (command: string[]) => {
  const [program = '', ...args] = [...command, process.execPath, '--input-type=module', '-e', SCRIPT]
  return JSON.parse(execFileSync(program, args, { encoding: 'utf8' })) as {
    threads: number[]
    started: number
  }
}

test.skipIf(!isRoot)('all threads of control go first, and what it starts does not (needs root)', () => {
  const { threads, started } = run([])
  expect(threads.length).toBeGreaterThan(1)
  expect(new Set(threads)).toEqual(new Set([-10]))
  expect(started).toBe(0)
})

test.skipIf(!isRoot)('without the right to, everything stays as it is (needs root)', () => {
  const { threads, started } = run(['setpriv', '--bounding-set=-sys_nice', '--inh-caps=-sys_nice'])
  expect(new Set([...threads, started])).toEqual(new Set([0]))
})
