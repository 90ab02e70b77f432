import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { outputOf, runProgram } from '../../lib/run-program.ts'
import { startFairClock } from '../support/fair-time.ts'
import { waitUntil } from '../support/wait-for.ts'

const run = (script: string, options?: Parameters<typeof runProgram>[2]) =>
  runProgram(process.execPath, ['-e', script], options)

test('gives exit code and both outputs, and passes input', async () => {
  const script = 'process.stdin.pipe(process.stdout); process.stderr.write("e"); process.exitCode = 3'
  expect(await run(script, { input: 'in' })).toEqual({ code: 3, stdout: 'in', stderr: 'e' })
})

test('ends a program that does not end', async () => {
  await expect(run('setInterval(() => {}, 1000)', { timeoutMs: 300 })).rejects.toThrow(
    'did not end within 0.3 s',
  )
})

test('ends a program that is no longer wanted, and says why', async () => {
  const stop = new AbortController()
  const running = run('setInterval(() => {}, 1000)', { signal: stop.signal })
  stop.abort(new Error('no longer wanted'))
  await expect(running).rejects.toThrow('no longer wanted')
})

const HOLDER =
  'require("child_process").spawn("sleep", ["30"], { stdio: "inherit", detached: true }).unref(); setInterval(() => {}, 1000)'

test('does not wait for the children of a program that it ended', async () => {
  using clock = startFairClock()
  await expect(run(HOLDER, { timeoutMs: 500 })).rejects.toThrow('did not end within 0.5 s')
  expect(clock.elapsedMs()).toBeLessThan(20_000)
})

test('says that a program is no longer wanted only when it is gone', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'edge-run-'))
  const stop = new AbortController()
  const pidFile = join(folder, 'pid')
  const running = run(
    `fs.writeFileSync(${JSON.stringify(pidFile)}, String(process.pid)); setInterval(() => {}, 1000)`,
    {
      signal: stop.signal,
    },
  )
  const pid = await waitUntil(() => existsSync(pidFile) && Number(readFileSync(pidFile, 'utf8')))
  stop.abort(new Error('no longer wanted'))
  await expect(running).rejects.toThrow('no longer wanted')
  expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  rmSync(folder, { recursive: true })
})

test('ends a program that writes without end', async () => {
  const script = 'const go = () => process.stdout.write("x".repeat(65536), go); go()'
  await expect(run(script, { maxOutputBytes: 100_000 })).rejects.toThrow('wrote more than 100000 bytes')
})

test('keeps the last of endless complaints', async () => {
  const script = 'process.stderr.write("x\\n".repeat(100_000) + "the end")'
  const { stderr } = await run(script)
  expect(stderr.length).toBe(65_536)
  expect(stderr.endsWith('the end')).toBe(true)
})

test('does not wait for the children of a program whose output is ignored', async () => {
  const script =
    'require("child_process").spawn("sleep", ["30"], { stdio: "inherit", detached: true }).unref()'
  expect(await run(script, { output: 'ignore', timeoutMs: 20_000 })).toMatchObject({ code: 0 })
})

test('a program that does not read its input is no error', async () => {
  expect(await run('process.exit(0)', { input: 'x'.repeat(1_000_000) })).toMatchObject({ code: 0 })
})

test('a program that does not exist is', async () => {
  await expect(runProgram('no-such-program-here', [])).rejects.toMatchObject({
    name: 'ProgramError',
    code: 'ENOENT',
    program: 'no-such-program-here',
  })
})

test('a program that was killed is', async () => {
  await expect(run('process.kill(process.pid, "SIGTERM")')).rejects.toThrow('was ended by SIGTERM')
})

test('has no environment of ours but what it is given', async () => {
  const { stdout } = await run('process.stdout.write(JSON.stringify(process.env))', { env: { HOME: '/x' } })
  expect(Object.keys(JSON.parse(stdout) as object).sort()).toEqual(['HOME', 'LC_ALL', 'PATH'])
})

test.each([
  ['its last line', 'first\\nsecond\\n', 'second'],
  ['the message of a log line', 'time="x" level=fatal msg="no \\\\"image\\\\""', 'no "image"'],
  ['its exit code when it says nothing', '', 'exit code 4'],
  [
    'what tar says before its last words',
    'node: x: Cannot open: No space left on device\\nnode: Exiting with failure status due to previous errors\\n',
    'x: Cannot open: No space left on device',
  ],
])('outputOf fails with %s', async (_name, complaint, message) => {
  const script = `process.stderr.write('${complaint}'); process.exitCode = 4`
  await expect(outputOf(process.execPath, ['-e', script])).rejects.toMatchObject({
    name: 'ProgramError',
    message: `node: ${message}`,
    program: process.execPath,
  })
})
