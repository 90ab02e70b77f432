// Hooks that run by a schedule, in a real execd.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { isAlive } from '../../support/edge.ts'
import { until } from '../daemon.ts'
import { linesOf, makeWorkdir, numberIn, read, sh, start } from './support.ts'

describe('hooks that run by a schedule', () => {
  const every = (command: string[], more: object = {}) => ({
    periodic: [{ name: 'tick', schedule: '@every 1s', command, ...more }],
  })

  test('run again and again, and not before the entrypoint', async () => {
    const workdir = makeWorkdir()
    await using execd = await start(
      {
        preStart: { command: sh('sleep 1.2; echo hook >> order') },
        periodic: [
          { name: 'first', schedule: '@every 1s', command: sh('echo first >> order') },
          { name: 'hourly', schedule: '@hourly', command: sh('echo hourly >> order') },
        ],
      },
      { workdir },
    )
    expect(linesOf(workdir, 'order')).toEqual(['hook'])
    await until(async () => linesOf(workdir, 'order').length > 3, 'three runs')
    expect(linesOf(workdir, 'order').slice(0, 3)).toEqual(['hook', 'first', 'first'])
    expect(read(execd.dir, 'hooks/1.log')).toMatch(/# \S+ first begins\n# \S+ first ended: well\n/)
  })

  test('never overlap', async () => {
    const workdir = makeWorkdir()
    const line = 'mkdir lock || echo overlap >> runs; echo run >> runs; sleep 1.4; rmdir lock'
    await using execd = await start(every(sh(line)), { workdir })
    await until(async () => linesOf(workdir, 'runs').length >= 2, 'a second run')
    expect(execd.process.exitCode).toBe(null)
    expect(linesOf(workdir, 'runs')).not.toContain('overlap')
  })

  test('are ended when their time is over, and run again', async () => {
    const workdir = makeWorkdir()
    const line = 'echo $$ >> pids; trap "" TERM; while :; do sleep 0.1; done'
    await using execd = await start(every(sh(line), { timeoutSeconds: 1 }), { workdir, stopGraceMs: 200 })
    await until(async () => linesOf(workdir, 'pids').length >= 2, 'a second run')
    expect(isAlive(Number(linesOf(workdir, 'pids')[0]))).toBe(false)
    expect(read(execd.dir, 'hooks/1.log')).toContain('tick ended: it did not end within 1 seconds')
  })

  test('that fail run again, and their output is bounded', async () => {
    const workdir = makeWorkdir()
    const line = 'echo run >> runs; head -c 1000000 /dev/zero | tr "\\0" x; exit 1'
    await using execd = await start(every(sh(line)), { workdir })
    await until(async () => linesOf(workdir, 'runs').length >= 3, 'three runs')
    const bytes = readdirSync(join(execd.dir, 'hooks')).map((name) => read(execd.dir, `hooks/${name}`).length)
    expect(bytes.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(256 << 10)
  })

  test('end with the sandbox', async () => {
    const workdir = makeWorkdir()
    const execd = await start(every(sh('echo $$ > hook; exec sleep 1000')), { workdir })
    await using _ = execd
    const hook = await numberIn(workdir, 'hook')
    await execd.stop()
    expect(isAlive(hook)).toBe(false)
  })

  test('go on after execd was killed, and what was running then does not', async () => {
    const workdir = makeWorkdir()
    const line = 'echo $$ >> pids; exec sleep 1000'
    await using execd = await start(every(sh(line)), { workdir }, { restarted: true })
    await until(async () => linesOf(workdir, 'pids').length === 1, 'a run')
    await execd.killAndAwait()
    await until(async () => linesOf(workdir, 'pids').length === 2, 'another run')
    expect(isAlive(Number(linesOf(workdir, 'pids')[0]))).toBe(false)
  })
})
