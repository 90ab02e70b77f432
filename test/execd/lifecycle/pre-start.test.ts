// The hook before the entrypoint, in a real execd.

import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { LifecycleHooks } from '../../../lib/api/lifecycle-hooks.ts'
import { freePort, isAlive } from '../../support/edge.ts'
import { outputOf, until } from '../daemon.ts'
import { linesOf, makeWorkdir, numberIn, read, sh, start } from './support.ts'

describe('the hook before the entrypoint', () => {
  test('runs once HTTP is up, and the entrypoint comes only after it', async () => {
    const workdir = makeWorkdir()
    const port = await freePort()
    const hook = sh('echo hook >> order; until [ -e go ]; do sleep 0.02; done; echo hook done >> order')
    const starting = start(
      { preStart: { command: hook } },
      { workdir, port, entrypoint: sh('echo entrypoint >> order; exec sleep 1000') },
    )
    await until(async () => read(workdir, 'order') !== '', 'the hook')
    expect((await fetch(`http://127.0.0.1:${port}/ping`)).status).toBe(200)
    writeFileSync(join(workdir, 'go'), '')
    await using execd = await starting
    expect(execd.ready.ok).toBe(true)
    await until(async () => linesOf(workdir, 'order').length === 3, 'the entrypoint')
    expect(linesOf(workdir, 'order')).toEqual(['hook', 'hook done', 'entrypoint'])
  })

  test('gets the environment of the sandbox, adds to that of commands, and is seen by nobody', async () => {
    const workdir = makeWorkdir()
    const hook = sh(
      'env > hook.env; pwd > hook.pwd; echo FROM_HOOK=yes >> "$EXECD_ENVS"; echo out; echo err >&2',
    )
    await using execd = await start(
      { preStart: { command: hook } },
      { workdir, env: { MINE: 'yes' }, entrypoint: sh('env > entrypoint.env; exec sleep 1000') },
    )
    expect(read(workdir, 'hook.env')).toContain('MINE=yes\n')
    expect(read(workdir, 'hook.pwd')).toBe(`${workdir}\n`)
    await until(async () => read(workdir, 'entrypoint.env').includes('MINE'), 'the entrypoint')
    const command = outputOf(await execd.run({ command: 'env' }))
    expect(command).toContain('FROM_HOOK=yes\n')
    for (const text of [read(workdir, 'hook.env'), read(workdir, 'entrypoint.env'), command])
      expect(text).not.toContain('OPENSANDBOX_LIFECYCLE')
    expect(read(execd.dir, 'hooks/0.log')).toMatch(
      /^# \S+ preStart begins\nout\nerr\n# \S+ preStart ended: well\n$/,
    )
  })

  test.each<[what: string, hooks: LifecycleHooks | string, message: RegExp]>([
    [
      'ends with a code',
      { preStart: { command: sh('echo about to fail; echo no disk >&2; exit 3') } },
      /^The lifecycle hook "preStart" failed: it ended with code 3; its output:\nabout to fail\nno disk$/,
    ],
    [
      'says much before it fails',
      { preStart: { command: sh('seq 1 100000; exit 1') } },
      /failed: it ended with code 1; the end of its output:\n[\d\n]{1990,}\n100000$/,
    ],
    [
      'dies',
      { preStart: { command: sh('kill -SEGV $$') } },
      /failed: it was ended by SIGSEGV; it wrote nothing$/,
    ],
    [
      'is not there',
      { preStart: { command: ['/no/such/program'] } },
      /failed: Cannot find the program "\/no\/such\/program"/,
    ],
    [
      'takes too long',
      { preStart: { command: sh('echo waiting; sleep 1000'), timeoutSeconds: 1 } },
      /failed: it did not end within 1 seconds; its output:\nwaiting$/,
    ],
    [
      'makes no sense',
      '{"preStart":{}}',
      /^OPENSANDBOX_LIFECYCLE: The lifecycle hooks are wrong: "preStart.command"/,
    ],
  ])('that %s ends the start, and says why', async (_what, hooks, message) => {
    const workdir = makeWorkdir()
    await using execd = await start(hooks, { workdir, entrypoint: sh('touch entrypoint; exec sleep 1000') })
    expect(execd.ready).toEqual({ ok: false, reason: 'hook_failed', message: expect.stringMatching(message) })
    const exit = await execd.stop()
    expect(exit).toEqual({ exitCode: 1, message: execd.ready.ok ? '' : execd.ready.message })
    expect(readdirSync(workdir)).not.toContain('entrypoint')
  })

  test('whose time is over goes with all that it started, be it in a session of its own', async () => {
    const workdir = makeWorkdir()
    const hook = sh(
      'trap "" TERM; setsid sh -c "echo \\$\\$ > child; exec sleep 1000" & while :; do sleep 0.1; done',
    )
    await using execd = await start({ preStart: { command: hook, timeoutSeconds: 1 } }, { workdir })
    expect(execd.ready.ok).toBe(false)
    expect(isAlive(await numberIn(workdir, 'child'))).toBe(false)
  })

  test('may leave a server running', async () => {
    const workdir = makeWorkdir()
    await using execd = await start(
      { preStart: { command: sh('sleep 1000 & echo $! > child') } },
      { workdir },
    )
    expect(execd.ready.ok).toBe(true)
    const pid = await numberIn(workdir, 'child')
    onTestFinished(() => void process.kill(pid, 'SIGKILL'))
    expect(isAlive(pid)).toBe(true)
  })

  test('is ended when the sandbox is', async () => {
    const workdir = makeWorkdir()
    const starting = start(
      { preStart: { command: sh('echo $PPID > execd; echo $$ > hook; exec sleep 1000') } },
      { workdir },
    )
    const hook = await numberIn(workdir, 'hook')
    process.kill(await numberIn(workdir, 'execd'), 'SIGTERM')
    await using execd = await starting
    expect(execd.ready).toMatchObject({ ok: false, message: expect.stringContaining('it was stopped') })
    expect(isAlive(hook)).toBe(false)
  })

  test('runs once, however often execd is started again', async () => {
    const workdir = makeWorkdir()
    await using execd = await start(
      { preStart: { command: sh('echo hook >> runs') } },
      { workdir },
      { restarted: true },
    )
    await execd.killAndAwait()
    await execd.killAndAwait()
    expect(linesOf(workdir, 'runs')).toEqual(['hook'])
  })

  test('that execd did not live to see the end of counts as failed', async () => {
    const workdir = makeWorkdir()
    const hook = sh('echo hook >> runs; echo $PPID > execd; exec sleep 1000')
    const port = await freePort()
    const starting = start({ preStart: { command: hook } }, { workdir, port }, { restarted: true })
    process.kill(await numberIn(workdir, 'execd'), 'SIGKILL')
    await using execd = await starting
    expect(execd.ready).toEqual({
      ok: false,
      reason: 'hook_failed',
      message: 'The lifecycle hook "preStart" failed: execd was ended while it ran',
    })
    expect(linesOf(workdir, 'runs')).toEqual(['hook'])
    await execd.stop()
    // Nothing of it is left either, and least of all what holds its port.
    const server = createServer().listen(port, '127.0.0.1')
    await once(server, 'listening')
    server.close()
  })
})
