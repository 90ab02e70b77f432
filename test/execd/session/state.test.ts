// What a session keeps from run to run, through the end of its shell too.

import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Daemon, startDaemon } from '../daemon.ts'
import { createSession, shellWord } from './session-client.ts'

let execd: Daemon
beforeAll(async () => {
  execd = await startDaemon()
})
afterAll(() => execd[Symbol.asyncDispose]())

const open = (body?: Record<string, unknown>) => createSession(execd, body)

describe('what one run leaves to the next', () => {
  test('B1: variables with any bytes stay what they are, however many runs there are', async () => {
    const session = await open()
    const value = 'a$HOME `id` \\$x \\\\ "double" \'single\' !x\n\nline\ttab\r\x01\x1b\x7f é \u2028 end\\'
    await session.run(`export ANY=${shellWord(value)}; LONG=$(head -c 100000 /dev/zero | tr '\\0' x)`)
    for (let count = 0; count < 5; count++) await session.run('export ANY')
    const { stdout } = await session.run('printf %s "$ANY"; printf "|%s" "$LONG" | wc -c')
    expect(stdout).toBe(`${value}100001\n`)
    // Through the end of the shell as well, several times: nothing is quoted twice.
    for (let count = 0; count < 3; count++) expect((await session.run('exit 3')).exitCode).toBe(3)
    expect((await session.run('printf %s "$ANY"; printf "|%s" "$LONG" | wc -c')).stdout).toBe(
      `${value}100001\n`,
    )
  })

  test('B3: functions, aliases, arrays, unexported variables, options, traps, umask, jobs and $? stay', async () => {
    const session = await open()
    await session.run('greet() { local who=$1; echo "hello $who"; }; alias hi="greet alias"')
    await session.run(
      'plain=1; list=(a "b c"); declare -A map=([k]="v w"); declare -i n=4; set -- one "two three"',
    )
    await session.run('set -o pipefail; shopt -s extglob nullglob; umask 027; trap "echo trapped" USR1')
    await session.run('sleep 300 &')
    await session.run('(exit 42)')
    const { stdout } = await session.run(
      [
        'echo $?',
        'greet you',
        'hi',
        `echo $plain \${list[1]} \${map[k]} $n "$2"`,
        'false | true || echo pipefail',
        '[[ aaa == +(a) ]] && echo extglob; echo no-such-*',
        // A job that has ended is listed once more when bash has not told of its end yet.
        'umask; kill -USR1 $$; jobs; kill %1; wait; jobs -r',
      ].join('\n'),
    )
    expect(stdout.replace(/\[1\].*/g, '[1]')).toBe(
      '42\nhello you\nhello alias\n1 b c v w 4 two three\npipefail\nextglob\n\n0027\ntrapped\n[1]\n',
    )
  })

  test('B3: a new shell has all of it but jobs and descriptors', async () => {
    const session = await open()
    await session.run(
      'greet() { echo "hello $1"; }; export -f greet; alias hi="greet alias"; readonly fixed=7',
    )
    await session.run(
      'plain=1; list=(a "b c"); declare -A map=([k]="v w"); declare -n ref=plain; set -- one "two three"',
    )
    await session.run('set -o pipefail; shopt -s extglob; umask 027; unset FROM_BOOT; cd /usr; cd /tmp')
    await session.run('pick() { case $1 in +(a)) echo as;; esac; }; trap "echo trapped" USR1')
    expect((await session.run('exit 9')).exitCode).toBe(9)
    const { stdout, stderr } = await session.run(
      [
        'echo $?',
        'greet you; bash -c "greet child"; hi; pick aaa',
        `echo $plain \${list[1]} \${map[k]} $ref $fixed "$2" "\${FROM_BOOT-unset}"`,
        'false | true || echo pipefail; umask; pwd; echo $OLDPWD; kill -USR1 $$; fixed=8',
      ].join('\n'),
    )
    expect(stdout).toBe(
      '9\nhello you\nhello child\nhello alias\nas\n1 b c v w 1 7 two three unset\npipefail\n0027\n/tmp\n/usr\ntrapped\n',
    )
    expect(stderr).toBe('bash: line 4: fixed: readonly variable\n')
    expect((await session.status())?.restarts).toBe(1)
  })

  test('descriptors above the first three stay, and each run has its own first three', async () => {
    const session = await open()
    const file = join(execd.workdir, 'kept')
    await session.run(`exec 7>${file} 12>&7; exec >/dev/null 2>&1 </etc/passwd; echo unseen`)
    const { stdout } = await session.run('echo seen; cat; echo seven >&7; echo twelve >&12')
    expect(stdout).toBe('seen\n')
    expect(readFileSync(file, 'utf8')).toBe('seven\ntwelve\n')
  })

  test('is not shown by the shell, whatever options it has', async () => {
    const session = await open()
    expect((await session.run('set -x; echo a')).stderr).toBe('++ echo a\n')
    expect((await session.run('echo b')).stderr).toBe('++ echo b\n')
    expect((await session.run(`: ${'x'.repeat(2000)}\necho c`)).stderr).toMatch(/^\+\+ : x+\n\+\+ echo c\n$/)
    expect((await session.run('set +x; set -v')).stderr).toBe('++ set +x\n')
    expect((await session.run('echo d\necho e')).stderr).toBe('echo e\n')
    const { stdout, stderr } = await session.run('set +v; set; declare -F; alias; trap; jobs')
    expect(stdout + stderr).not.toMatch(/__execd|report|session-pipes|declare -x/)
    expect((await session.run('set -x; exit 1')).exitCode).toBe(1)
    expect((await session.run('echo f')).stderr).toBe('')
  })

  test('numbers the lines of errors from the first of each run', async () => {
    const session = await open()
    expect((await session.run('true\n\nno-such-a')).stderr).toBe(
      'bash: line 3: no-such-a: command not found\n',
    )
    expect((await session.run('no-such-b')).stderr).toBe('bash: line 1: no-such-b: command not found\n')
    const { stderr } = await session.run(`# ${'x'.repeat(2000)}\nno-such-c`)
    expect(stderr).toBe('bash: line 2: no-such-c: command not found\n')
  })
})

describe('what stands on the disk', () => {
  test('X8: no file has the code or the environment while a run is there, nor after it', async () => {
    const session = await open()
    const secret = `s${Math.random().toString(36).slice(2)}`
    const dir = join(execd.dir, 'sessions', session.id)
    const find = `grep -rlsI --devices=skip ${secret.slice(0, 4)}'${secret.slice(4)}' ${execd.dir} /tmp/execd_* ; true`
    await session.run(`export SECRET=${secret}`)
    // Code of this length goes through a file, which is empty by the time that it runs.
    const run = await session.run(`#${'x'.repeat(5000)}${secret}\n${find}\nstat -c '%a %s' ${dir}/*/code`)
    expect(run.stdout).toBe('600 0\n')
    expect((await session.run(`${find}; ls ${dir}/*`)).stdout).toBe('report\n')
    expect(statSync(join(dir, '1/report')).mode & 0o777).toBe(0o600)
  })
})
