// What runs in the background of a session: its state, its log, and what it does to the session.

import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../daemon.ts'
import { type Isolated, isPossible, type Session, startIsolated, WITHOUT_MOUNTS } from './client.ts'

describe.skipIf(!isPossible())('a run in the background (skipped without root and bubblewrap)', () => {
  let isolated: Isolated
  beforeAll(async () => {
    isolated = await startIsolated({ wrapper: WITHOUT_MOUNTS })
  })
  afterAll(() => isolated[Symbol.asyncDispose]())

  const create = (name: string, more: Record<string, unknown> = {}) =>
    isolated.create({ workspace: { path: isolated.folder(name), mode: 'rw' }, ...more })
  const start = async (session: Session, code: string, more: Record<string, unknown> = {}) => {
    const { status, body } = await session.call('POST', '/run', { code, background: true, ...more })
    expect(status).toBe(202)
    expect(body).toEqual({
      session_id: session.id,
      run_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      started_at: expect.any(String),
    })
    return String(body.run_id)
  }
  const ended = (session: Session, id: string) =>
    until(async () => {
      const status = await session.status(id)
      return status.running ? undefined : status
    }, 'the end of a run in the background')

  test('begins as a copy of the shell, and tells its state and its output', async () => {
    const session = await create('copy')
    await session.run('A=known; f() { echo "f $A"; }; cd /usr')
    const id = await start(session, 'f; pwd; echo "$X" >&2; A=changed; exit 4', { envs: { X: 'own' } })
    expect(await session.status(id)).toMatchObject({
      session_id: session.id,
      run_id: id,
      started_at: expect.any(String),
    })
    expect(await ended(session, id)).toMatchObject({ exit_code: 4, finished_at: expect.any(String) })
    expect((await session.log(id)).text).toBe('f known\n/usr\nown\n')
    expect((await session.run('echo $A')).stdout).toBe('known\n')
  })

  test('does not hold up the shell, has no time limit, and its log can be read as it grows', async () => {
    const session = await create('grows')
    await session.run('mkfifo go')
    const id = await start(session, 'echo one; read x < go; echo two; echo end', { timeout_seconds: 1 })
    await until(async () => (await session.log(id)).text === 'one\n', 'the first line')
    expect((await session.run('echo free')).stdout).toBe('free\n')
    expect(await session.log(id, 4)).toMatchObject({ text: '', cursor: 4 })
    expect(await session.log(id, 99)).toMatchObject({ text: '', cursor: 99 })
    expect((await session.status(id)).running).toBe(true)
    await session.run('echo > go')
    await until(async () => (await session.status(id)).running === false, 'its end')
    const { text, cursor } = await session.log(id, 4)
    expect(cursor).toBe(4 + text.length)
  })

  test('waits for its turn when the shell is busy, and is known meanwhile', async () => {
    const session = await create('turn')
    const running = session.run('sleep 1')
    const id = await start(session, 'echo later')
    expect((await session.status(id)).run_id).toBe(id)
    await running
    await ended(session, id)
    expect((await session.log(id)).text).toBe('later\n')
  })

  test('I5: its log lies where the session cannot reach it, and keeps no more than 16 MiB', async () => {
    const session = await create('log')
    const id = await start(session, 'echo hello; head -c 40000000 /dev/zero | tr "\\0" x')
    await ended(session, id)
    const { text, cursor } = await session.log(id)
    expect(cursor).toBe(40_000_006)
    expect(text.length).toBeLessThanOrEqual(16 << 20)
    expect(text.length).toBeGreaterThan(4 << 20)
    expect(readdirSync(isolated.folder('log'))).toEqual([])
    expect(
      (await session.run('ls -A; ls -A /run/execd-session | grep -v "^p[0-9]*$"; touch /run/execd-session/x'))
        .stdout,
    ).toBe('')
  })

  test('is not ended by the timeout of a run in the foreground', async () => {
    const session = await create('spared')
    const id = await start(session, 'while :; do sleep 0.02; done')
    await session.run('true')
    await session.run({ code: 'sleep 60', timeout_seconds: 1 })
    expect((await session.status(id)).running).toBe(true)
  })

  test('keeps an idle session alive until it ends', async () => {
    const session = await create('alive', { idle_timeout_seconds: 1 })
    const id = await start(session, 'sleep 2.5')
    await ended(session, id)
    expect((await isolated.call('GET', session.path)).status).toBe(200)
    await until(
      async () => (await isolated.call('GET', session.path)).status === 404,
      'the end of the session',
    )
  })

  test('that is killed has ended, and so has one whose session is', async () => {
    const session = await create('killed')
    const id = await start(session, 'echo $BASHPID > pid; sleep 1000')
    const other = await start(session, 'sleep 1000')
    await session.run(
      'while [ ! -s pid ]; do sleep 0.01; done; kill -9 -- -$(($(ps -o pgid= -p $(cat pid))))',
    )
    expect(await ended(session, id)).toMatchObject({
      running: false,
      error: expect.stringContaining('killed'),
    })
    await session.run('kill -9 $PPID')
    expect(await ended(session, other)).toMatchObject({ running: false, error: 'session terminated' })
  })

  test('is refused where the contract has it so, and what is unknown is not found', async () => {
    const path = isolated.folder('refused')
    for (const mount of [
      { path, mode: 'ro' },
      { path, persist: false },
    ]) {
      const session = await isolated.create({ overlays: [mount] })
      expect(await session.call('POST', '/run', { code: 'true', background: true })).toMatchObject({
        status: 400,
      })
    }
    const session = await create('unknown')
    const id = await start(session, 'true')
    for (const below of ['/runs/x', '/runs/x/logs'])
      expect((await session.call('GET', below)).status).toBe(404)
    for (const cursor of ['-1', 'x', '1.5'])
      expect((await session.call('GET', `/runs/${id}/logs?cursor=${cursor}`)).status).toBe(400)
  })
})
