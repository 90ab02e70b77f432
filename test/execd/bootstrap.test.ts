// What a sandbox's environment asks of its start (contract: execd.md 10.3).

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { bootstrapArgv, parseExports } from '../../execd/bootstrap.ts'
import { outputOf, startDaemon, until } from './daemon.ts'

describe('bootstrapArgv()', () => {
  const env = { PATH: '/usr/bin:/bin' }

  test.each([
    [['sleep', '1'], env, ['sleep', '1']],
    [['-c', 'echo hi'], env, [expect.stringMatching(/\/bash$/), '-c', 'echo hi']],
    [['-c', 'echo hi'], { ...env, BOOTSTRAP_SHELL: '/bin/sh' }, ['/bin/sh', '-c', 'echo hi']],
    [['-c', 'echo $0', 'name'], { BOOTSTRAP_SHELL: 'sh' }, ['sh', '-c', 'echo $0', 'name']],
    [['sleep', '1'], { ...env, BOOTSTRAP_CMD: 'a | b' }, [expect.stringMatching(/\/bash$/), '-c', 'a | b']],
    [['sleep', '1'], { ...env, BOOTSTRAP_CMD: '' }, ['sleep', '1']],
    [['sleep', '1'], { ...env, BOOTSTRAP_SHELL: 'zsh' }, ['sleep', '1']],
  ])('makes of %j with %j', (argv, environment, expected) => {
    expect(bootstrapArgv(argv, environment, '/')).toEqual(expected)
  })

  test('says when there is no shell', () => {
    expect(() => bootstrapArgv(['-c', 'echo hi'], { PATH: '/nowhere' }, '/')).toThrow(
      expect.objectContaining({ exitCode: 1, message: expect.stringContaining('neither "bash" nor "sh"') }),
    )
  })
})

describe('parseExports()', () => {
  test.each([
    ["export A='1'\nexport B=''\n", { A: '1', B: '' }],
    [`export A='it'"'"'s'\n`, { A: "it's" }],
    [`export A="''"'x'\n`, { A: "''x" }],
    ["export A='two\nexport B=lines'\nexport C='3'\n", { A: 'two\nexport B=lines', C: '3' }],
    ['export A\n', {}],
    ['', {}],
  ])('reads %j', (text, expected) => {
    expect(parseExports(text)).toEqual(expected)
  })

  test('reads what dash writes, whatever the value', () => {
    const value = fc.string({ unit: 'binary' }).filter((text) => !/[\0\ud800-\udfff]/.test(text))
    fc.assert(
      fc.property(value, (A) => {
        const { stdout } = spawnSync('dash', ['-c', 'export -p'], { env: { A, B: 'x' }, encoding: 'utf8' })
        expect(parseExports(stdout)).toMatchObject({ A, B: 'x' })
      }),
      { numRuns: 50 },
    )
  })
})

describe('the start of a sandbox', () => {
  function scriptFile(text: string): string {
    const dir = mkdtempSync(join(tmpdir(), 'bootstrap-'))
    onTestFinished(() => rmSync(dir, { recursive: true }))
    const path = join(dir, "it's a script.sh")
    writeFileSync(path, text)
    return path
  }
  const PATH = '/usr/bin:/bin'

  test('sources a script first: its exports reach the entrypoint and every command, its output the log', async () => {
    const script = scriptFile(
      `echo from the script; export ADDED="it's
two lines" PATH="/added:$PATH"; unset GONE; NOT_EXPORTED=1; set -- a b; cd /usr`,
    )
    await using execd = await startDaemon({
      env: { PATH, EXECD_BOOTSTRAP_PRE_SCRIPT: script, GONE: 'x', KEPT: 'k' },
      entrypoint: ['sh', '-c', 'echo "$ADDED|$PATH|$KEPT|$GONE|$NOT_EXPORTED|$SHLVL"; pwd; exec sleep 1000'],
    })
    const log = () => readFileSync(join(execd.dir, 'entrypoint.log'), 'utf8')
    await until(async () => log().includes(execd.workdir), 'the entrypoint')
    expect(log()).toBe(`from the script\nit's\ntwo lines|/added:${PATH}|k|||\n${execd.workdir}\n`)
    expect(outputOf(await execd.run({ command: 'echo "$ADDED$GONE"' }))).toBe("it's\ntwo lines\n")
  })

  test.each([
    ['ends by itself', 'export A=1; exit 3'],
    ['ends well by itself', 'export A=1; exit 0'],
    ['becomes another program', 'export A=1; exec true'],
    ['is not one', 'if then fi ('],
    ['kills its shell', 'kill -KILL $$'],
  ])('warns of a script that %s, and goes on', async (_what, text) => {
    await using execd = await startDaemon({
      env: { PATH, EXECD_BOOTSTRAP_PRE_SCRIPT: scriptFile(text), KEPT: 'k' },
    })
    expect(execd.ready.ok).toBe(true)
    expect(outputOf(await execd.run({ command: 'echo "$A$KEPT"' }))).toBe('k\n')
  })

  test('warns of a script that is not there, and is not held up by what one leaves in the background', async () => {
    await using missing = await startDaemon({ env: { PATH, EXECD_BOOTSTRAP_PRE_SCRIPT: '/nowhere' } })
    expect(missing.ready.ok).toBe(true)
    const script = scriptFile('export A=1; sleep 1000 & export PID=$!')
    await using execd = await startDaemon({ env: { PATH, EXECD_BOOTSTRAP_PRE_SCRIPT: script } })
    const [a, pid] = outputOf(await execd.run({ command: 'echo $A $PID' }))
      .trim()
      .split(' ')
    expect(a).toBe('1')
    process.kill(Number(pid), 'SIGKILL')
  })

  test('runs another command in place of the entrypoint', async () => {
    await using execd = await startDaemon({
      env: { PATH, BOOTSTRAP_CMD: 'echo instead | cat; exit 7', BOOTSTRAP_SHELL: 'sh' },
    })
    const exit = join(execd.dir, 'exit.json')
    await until(async () => existsSync(exit), 'its end')
    expect(JSON.parse(readFileSync(exit, 'utf8'))).toEqual({ exitCode: 7 })
    expect(readFileSync(join(execd.dir, 'entrypoint.log'), 'utf8')).toBe('instead\n')
  })

  test('keeps the exports when execd is restarted, and does not source again', async () => {
    const script = scriptFile('echo sourced; export ONCE=$$')
    await using execd = await startDaemon(
      { env: { PATH, EXECD_BOOTSTRAP_PRE_SCRIPT: script } },
      { restarted: true },
    )
    const once = outputOf(await execd.run({ command: 'echo $ONCE' }))
    await execd.killAndAwait()
    expect(outputOf(await execd.run({ command: 'echo $ONCE' }))).toBe(once)
    expect(readFileSync(join(execd.dir, 'entrypoint.log'), 'utf8')).toBe('sourced\n')
  })
})
