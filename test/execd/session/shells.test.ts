// Sessions where there is no bash, no shell, or no root.

import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startDaemon } from '../daemon.ts'
import { createSession } from './session-client.ts'

const PROGRAMS = ['sleep', 'cat', 'seq', 'env', 'kill', 'head', 'tr']

/** A directory for PATH that has a few programs, and the given ones by other names. */
function pathWith(links: Record<string, string>): string {
  const dir = mkdtempSync(join(tmpdir(), 'session-path-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  for (const name of PROGRAMS) symlinkSync(`/usr/bin/${name}`, join(dir, name))
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(dir, name))
  return dir
}

describe.each(['/usr/bin/dash', '/usr/bin/busybox'].filter((path) => existsSync(path)))(
  'with %s for sh',
  (sh) => {
    test('variables, options, directory, traps and functions stay from run to run', async () => {
      await using execd = await startDaemon({ env: { PATH: pathWith({ sh }), HOME: '/', FROM_BOOT: 'yes' } })
      const session = await createSession(execd)
      expect((await session.status())?.shell).toBe('sh')
      await session.run(`plain='it is'; export EXPORTED='a
"b" $HOME \`id\` \\'; f() { echo "f $1"; }; set -f; umask 027; cd /usr; trap 'echo trapped' USR1; alias hi='echo hi'`)
      const { stdout, stderr } = await session.run(
        'false; echo $?; echo "$plain|$EXPORTED"; f x; echo *; umask; pwd; kill -USR1 $$; hi',
      )
      expect(stderr).toBe('')
      expect(stdout).toBe(`1\nit is|a\n"b" $HOME \`id\` \\\nf x\n*\n0027\n/usr\ntrapped\nhi\n`)
      await session.run('(exit 42)')
      expect((await session.run('echo $?')).stdout).toBe('42\n')
    })

    test('a new shell has variables, options, directory and traps', async () => {
      await using execd = await startDaemon({ env: { PATH: pathWith({ sh }), HOME: '/', FROM_BOOT: 'yes' } })
      const session = await createSession(execd)
      await session.run(
        `plain='it'"'"'s'; export EXPORTED='a\nb'; unset FROM_BOOT; set -f; umask 027; cd /usr; trap 'echo trapped' USR1`,
      )
      expect((await session.run('plain=2; cd /; exit 7')).traceback).toEqual([
        'exit status 7',
        expect.stringContaining('the variables, options and directory'),
      ])
      const run = await session.run(
        'echo "$?|$plain|$EXPORTED|$FROM_BOOT|"; env | tr "\\n" " "; echo *; umask; pwd; kill -USR1 $$',
      )
      expect(run.stderr).toBe('')
      expect(run.stdout).toMatch(/^7\|it's\|a\nb\|\|\n.*EXPORTED=a b .*\*\n0027\n\/usr\ntrapped\n$/)
      expect(run.stdout).not.toContain('plain=')
    })

    test('B4, B5, B6: nothing that the code does ends the session or is taken for a report', async () => {
      await using execd = await startDaemon({ env: { PATH: pathWith({ sh }), HOME: '/' } })
      const session = await createSession(execd)
      await session.run('export KEPT=1; cd /usr')
      const runs: [string, number, string][] = [
        ['exit 7', 7, ''],
        ['exec cat /dev/null', 0, ''],
        ['exec no-such-program', 127, ''],
        ['set -e; echo a; false; echo b', 1, 'a\n'],
        ['set -u; echo $nothing', 2, ''],
        ['echo "never closed', 2, ''],
        ['if true', 2, ''],
        ['cat <<END\nnever ended', 0, 'never ended'],
        ['kill -9 $$', -1, ''],
        ['echo __EXIT_CODE__:5', 0, '__EXIT_CODE__:5\n'],
        ['exec >/dev/null 3>&1; echo unseen', 0, ''],
        [': >/nowhere/x', 2, ''],
      ]
      for (const [code, exitCode, stdout] of runs) {
        const run = await session.run(code)
        expect({ code, exitCode: run.exitCode, stdout: run.stdout }).toEqual({
          code,
          exitCode: code.startsWith(':') ? expect.any(Number) : exitCode,
          stdout,
        })
        const after = await session.run('set +eu; echo $KEPT; pwd')
        expect({ code, ...after }).toMatchObject({ code, exitCode: 0, stdout: '1\n/usr\n', stderr: '' })
      }
      const both = await session.run('printf "a\\n\\nb"; echo e >&2')
      expect([both.stdout, both.stderr]).toEqual(['a\n\nb', 'e\n'])
      expect((await session.run('set -x; echo traced')).stderr).toBe('+ echo traced\n')
      expect((await session.run('echo traced')).stderr).toBe('+ echo traced\n')
    })

    test('B2: a timeout ends the run, and a server in the background does not hold it up', async () => {
      await using execd = await startDaemon({ env: { PATH: pathWith({ sh }), HOME: '/' } })
      const session = await createSession(execd)
      const pid = (await session.run('V=1; sleep 300 & echo $!')).stdout.trim()
      const run = await session.run('sleep 300', { timeout: 200 })
      expect(run.traceback).toContain('timed out after 200 ms')
      expect((await session.run(`kill ${pid} && echo $V alive`)).stdout).toBe('1 alive\n')
    })

    test('takes code and output of any length', async () => {
      await using execd = await startDaemon({ env: { PATH: pathWith({ sh }), HOME: '/' } })
      const session = await createSession(execd)
      const text = 'it\'s "long" $HOME \\ é\n'.repeat(20_000)
      const { stdout, exitCode } = await session.run(`cat <<'END'\n${text}END\n(exit 3)`)
      expect(stdout).toBe(text)
      expect(exitCode).toBe(3)
      expect((await session.run('seq 1 100000')).stdout.length).toBe(588_895)
    })
  },
)

test('without any shell, a session is refused with what is missing', async () => {
  const PATH = pathWith({})
  await using execd = await startDaemon({ env: { PATH, HOME: '/' } })
  const response = await execd.call('/session', { method: 'POST' })
  expect(response.status).toBe(501)
  expect(await response.json()).toEqual({
    code: 'NOT_SUPPORTED',
    message: `Sessions need a shell, and there is neither "bash" nor "sh" in PATH "${PATH}"`,
  })
})

test('a shell that cannot be executed, or ends at once, is told', async () => {
  const broken = mkdtempSync(join(tmpdir(), 'session-shell-'))
  onTestFinished(() => rmSync(broken, { recursive: true, force: true }))
  execFileSync('sh', ['-c', `printf '#!/nowhere/loader\\n' > bash; chmod 755 bash`], { cwd: broken })
  await using execd = await startDaemon({ env: { PATH: `${broken}:/usr/bin`, HOME: '/' } })
  const response = await execd.call('/session', { method: 'POST' })
  expect([response.status, await response.json()]).toEqual([
    500,
    {
      code: 'RUNTIME_ERROR',
      message: expect.stringContaining('its interpreter "/nowhere/loader" is missing'),
    },
  ])
  execFileSync('sh', ['-c', `printf '#!/bin/sh\\necho no luck >&2\\nexit 3\\n' > bash`], { cwd: broken })
  const session = await createSession(execd)
  const run = await session.post({ command: 'true' })
  expect([run.status, await run.json()]).toEqual([
    500,
    { code: 'RUNTIME_ERROR', message: expect.stringContaining('it ended before it was ready: no luck') },
  ])
})

test('a user other than root has its sessions, with its own ids and files', async () => {
  await using execd = await startDaemon({
    uid: 65534,
    gid: 65534,
    env: { PATH: '/usr/bin:/bin', HOME: '/tmp' },
  })
  // The directory of the test is root's; in a sandbox everyone may go through it.
  chmodSync(dirname(execd.dir), 0o711)
  const made = join(execd.workdir, 'made/below')
  const session = await createSession(execd, { cwd: made })
  const { stdout, stderr } = await session.run(
    `id -u; id -g; V=1; echo x > mine; cat mine; echo err > /dev/stderr; sleep 300 & echo $!; #${'x'.repeat(3000)}`,
  )
  expect(stdout).toMatch(/^65534\n65534\nx\n\d+\n$/)
  expect(stderr).toBe('err\n')
  expect((await session.run('sleep 300', { timeout: 200 })).traceback).toContain('timed out after 200 ms')
  expect((await session.run('echo $V; kill %1; jobs; touch ../../../not-mine')).stdout).toBe('1\n')
  mkdirSync(join(execd.workdir, 'roots'), { mode: 0o700 })
  const refused = await session.run('echo never', { cwd: join(execd.workdir, 'roots') })
  expect([refused.stdout, refused.exitCode]).toEqual(['', 1])
  expect(refused.stderr).toContain('Permission denied')
  expect((await session.run('pwd')).stdout).toBe(`${made}\n`)
})
