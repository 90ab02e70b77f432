// Programs that a process of its own starts behave as those that this one starts: the same answers, failures and endings.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { ProgramStarter } from '../../lib/program-starter.ts'
import { outputOf, ProgramError, type RunProgram, runProgram } from '../../lib/run-program.ts'
import { isAlive } from '../support/edge.ts'
import { waitUntil } from '../support/wait-for.ts'

function open(): ProgramStarter {
  const starter = new ProgramStarter()
  onTestFinished(() => starter[Symbol.asyncDispose]())
  return starter
}

/** A program that goes on until this process ends. */
const ENDS_WITH_US: [string, string[]] = ['tail', ['--pid', String(process.pid), '-f', '/dev/null']]

const both: [string, () => RunProgram][] = [
  ['this process', () => runProgram],
  ['its own process', () => open().run],
]

test.each(both)('%s gives output, complaint and exit code', async (_, open) => {
  const run = open()
  const script = 'cat; echo "$GREETING" >&2; exit 3'
  expect(await run('sh', ['-c', script], { input: 'in', env: { GREETING: 'hello' } })).toEqual({
    code: 3,
    stdout: 'in',
    stderr: 'hello\n',
  })
  expect(await outputOf('printf', ['%s', 'a'], { by: run })).toBe('a')
})

test.each(both)('%s says alike what went wrong', async (_, open) => {
  const run = open()
  const failure = async (work: Promise<unknown>) => {
    const error = await work.catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ProgramError)
    const { message, program, code, stderr } = error as ProgramError
    return { message, program, code, stderr }
  }
  expect(await failure(run('no-such-program', []))).toEqual({
    message: 'no-such-program: cannot be run: spawn no-such-program ENOENT',
    program: 'no-such-program',
    code: 'ENOENT',
    stderr: '',
  })
  expect(await failure(run('sh', ['-c', 'echo why >&2; kill -9 $$']))).toMatchObject({
    message: 'sh: was ended by SIGKILL',
    stderr: 'why\n',
  })
  expect(await failure(run('sleep', ['60'], { timeoutMs: 50 }))).toMatchObject({
    message: 'sleep: did not end within 0.05 s',
  })
  expect(await failure(run('yes', [], { maxOutputBytes: 1000 }))).toMatchObject({
    message: 'yes: wrote more than 1000 bytes',
  })
  expect(await failure(outputOf('sh', ['-c', 'echo no >&2; exit 1'], { by: run }))).toMatchObject({
    message: 'sh: no',
  })
})

test.each(both)('%s ends a program for a signal, with its reason', async (_, open) => {
  const run = open()
  const stopped = new AbortController()
  const reason = new Error('not wanted any more')
  const mark = `${process.pid}.${Math.random()}`
  const running = run('sh', ['-c', `: ${mark}; exec sleep 61.${process.pid}`], { signal: stopped.signal })
  const isThere = async () => (await runProgram('pgrep', ['-f', `sleep 61.${process.pid}`])).code === 0
  await waitUntil(isThere)
  stopped.abort(reason)
  await expect(running).rejects.toBe(reason)
  expect(await isThere()).toBe(false)
  await expect(run('true', [], { signal: stopped.signal })).rejects.toBe(reason)
})

test('many run side by side, each with its own answer', async () => {
  const { run } = open()
  const answers = await Promise.all(
    Array.from({ length: 30 }, async (_, at) => (await run('sh', ['-c', `echo ${at}`])).stdout),
  )
  expect(answers).toEqual(Array.from({ length: 30 }, (_, at) => `${at}\n`))
})

test('a program is no child of the process that asks for it, and the one that starts it survives what a terminal sends', async () => {
  const starter = open()
  const parentOf = async () =>
    Number((await outputOf('sh', ['-c', 'echo $PPID'], { by: starter.run })).trim())
  const parent = await parentOf()
  expect(parent).not.toBe(process.pid)
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(parent, name)
  expect(await parentOf()).toBe(parent)
})

test('one whose process has ended is not waited for for ever, and the next is begun anew', async () => {
  const { run } = open()
  const parent = Number((await outputOf('sh', ['-c', 'echo $PPID'], { by: run })).trim())
  const refused = expect(run(...ENDS_WITH_US)).rejects.toThrow('tail: cannot be waited for')
  process.kill(parent, 'SIGKILL')
  await refused
  expect((await run('true', [])).code).toBe(0)
})

test('the process goes when it is closed, and nothing waits for its programs', async () => {
  const starter = new ProgramStarter()
  const parent = Number((await outputOf('sh', ['-c', 'echo $PPID'], { by: starter.run })).trim())
  const refused = expect(starter.run(...ENDS_WITH_US)).rejects.toThrow('tail: cannot be waited for')
  await starter[Symbol.asyncDispose]()
  await refused
  expect(existsSync(`/proc/${parent}`)).toBe(false)
})

test.each([0, 20, 60, 250])('goes with who is killed %i ms after it was begun', async (ms) => {
  const url = new URL('../../lib/program-starter.ts', import.meta.url).href
  const killed = `import { ProgramStarter } from ${JSON.stringify(url)}
    console.log(new ProgramStarter().start().pid)
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), ${ms})`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', killed], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  await expect.poll(() => isAlive(Number(stdout))).toBe(false)
})
