import { expect, test } from 'vitest'
import { runCommand } from '../../egress/run-command.ts'

const node = (script: string) => ['-e', script]

test('gives exit code and both outputs, and passes input', async () => {
  const script = 'process.stdin.pipe(process.stdout); process.stderr.write("e"); process.exitCode = 3'
  expect(await runCommand(process.execPath, node(script), { input: 'in' })).toEqual({
    code: 3,
    stdout: 'in',
    stderr: 'e',
  })
})

test('ends a program that does not end', async () => {
  await expect(
    runCommand(process.execPath, node('setInterval(() => {}, 1000)'), { timeoutMs: 300 }),
  ).rejects.toThrow('did not end within 300 ms')
})

test('ends a program that writes without end', async () => {
  const script = 'const go = () => process.stdout.write("x".repeat(65536), go); go()'
  await expect(runCommand(process.execPath, node(script), { maxOutputBytes: 100_000 })).rejects.toThrow(
    'wrote more than 100000 bytes',
  )
})

test('a program that does not read its input is no error', async () => {
  const { code } = await runCommand(process.execPath, node('process.exit(0)'), {
    input: 'x'.repeat(1_000_000),
  })
  expect(code).toBe(0)
})

test('a program that does not exist is', async () => {
  await expect(runCommand('no-such-program-here', [])).rejects.toMatchObject({ code: 'ENOENT' })
})
