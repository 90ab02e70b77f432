// Our own kernel of bash.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Daemon, startDaemon, until } from '../daemon.ts'
import { createContext, errorOf, followCode, interrupt, runCode, stdoutOf, textsOf, typesOf } from './run.ts'

let execd: Daemon
let bash: string
beforeAll(async () => {
  execd = await startDaemon()
  bash = await createContext(execd, 'bash', undefined, { MINE: 'a b' })
})
afterAll(() => execd?.[Symbol.asyncDispose]())

const run = (code: string) => runCode(execd, bash, code)

test('keeps variables, functions, options and the directory', async () => {
  await run(`x=5; list=(a "b c"); f() { echo "f $x \${list[1]}"; }; set -o pipefail; cd /tmp`)
  const events = await run('f; pwd; set -o | grep pipefail; echo "$MINE"; echo err >&2')
  expect(stdoutOf(events)).toMatch(/^f 5 b c\n\/tmp\npipefail\s+on\na b\n$/)
  expect(textsOf(events, 'stderr')).toBe('err\n')
  expect(typesOf(events).at(-1)).toBe('execution_complete')
})

describe('a status', () => {
  test.each([
    ['true', undefined],
    ['false', '1'],
    ['(exit 7)', '7'],
    ['no-such-program-here', '127'],
    ['exit 3', '3'],
  ])('of %s', async (code, evalue) => {
    const events = await run(code)
    expect(errorOf(events)?.evalue).toBe(evalue)
    if (evalue) expect(errorOf(events)?.ename).toBe('CommandExecError')
    expect(typesOf(events).at(-1)).toBe('execution_complete')
  })

  test('that ends the shell leaves what was there before', async () => {
    await run('kept=1')
    await run('exit 4')
    expect(stdoutOf(await run('echo $kept'))).toBe('1\n')
  })
})

test('a server in the background neither holds a cell nor dies with it', async () => {
  const events = await run('sleep 300 & echo $!')
  expect(typesOf(events).at(-1)).toBe('execution_complete')
  const pid = Number(stdoutOf(events))
  process.kill(pid, 0)
  await run(`kill ${pid}`)
})

test('an interrupt ends what runs, and the context can be used on', async () => {
  await run('kept=2')
  const live = await followCode(execd, bash, 'echo go; sleep 60; echo not here')
  await live.see(({ type }) => type === 'stdout')
  expect(await interrupt(execd, bash)).toBe(200)
  const events = await live.end
  expect(errorOf(events)).toMatchObject({ ename: 'KeyboardInterrupt', evalue: 'interrupted' })
  expect(stdoutOf(events)).toBe('go\n')
  expect(stdoutOf(await run('echo $kept'))).toBe('2\n')
})

test('deleting a context ends all that it started', async () => {
  const id = await createContext(execd, 'bash')
  const events = await runCode(execd, id, 'sleep 300 & echo $!; setsid sleep 301 & echo $!')
  const pids = stdoutOf(events).trim().split('\n').map(Number)
  expect(pids).toHaveLength(2)
  await execd.call(`/code/contexts/${id}`, { method: 'DELETE' })
  for (const pid of pids)
    await until(async () => {
      try {
        process.kill(pid, 0)
        return false
      } catch {
        return true
      }
    }, `the end of ${pid}`)
})

test('output of any size comes whole', async () => {
  expect(stdoutOf(await run('seq 1 100000')).length).toBe(588_895)
  expect(stdoutOf(await run("printf '\\377ok\\303\\251'"))).toBe('\ufffdoké')
})
