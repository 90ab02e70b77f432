// What a session writes to an overlay is seen by its own side alone, told by its diff, and kept by its commit.

import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { IsolatedChange } from '../../../lib/api/execd-isolated.ts'
import { until } from '../daemon.ts'
import { type Isolated, isPossible, type Session, startIsolated, WITHOUT_MOUNTS } from './client.ts'

describe.skipIf(!isPossible())('an overlay of a session (skipped without root and bubblewrap)', () => {
  let isolated: Isolated
  beforeAll(async () => {
    isolated = await startIsolated({
      wrapper: WITHOUT_MOUNTS,
      config: 'upper_max_bytes = 67108864\ndiff_max_bytes = 20971520\n',
    })
  })
  afterAll(() => isolated[Symbol.asyncDispose]())

  const folder = (name: string) => {
    const path = isolated.folder(name, { keep: 'keep\n', change: 'before\n', remove: 'x\n' })
    mkdirSync(join(path, 'dir/deep'), { recursive: true })
    writeFileSync(join(path, 'dir/f'), 'f\n')
    writeFileSync(join(path, 'dir/deep/g'), 'g\n')
    return path
  }
  const changesOf = async (session: Session) => {
    const { status, body, text } = await session.call('GET', '/diff')
    expect(status, text).toBe(200)
    return (body.changes as IsolatedChange[]).map(({ path, change, type }) => `${change} ${type} ${path}`)
  }

  test('I7: works with a bubblewrap that has no overlays, whatever characters a path has', async () => {
    const path = isolated.folder('odd , : \\ " name', { f: 'below\n' })
    const session = await isolated.create({ workspace: { path } })
    expect((await session.run('pwd; cat f; echo above > f; cat f')).stdout).toBe(`${path}\nbelow\nabove\n`)
    expect(readFileSync(join(path, 'f'), 'utf8')).toBe('below\n')
  })

  test('I6: the diff tells what was added, modified and deleted, and nothing that only looks so', async () => {
    const path = folder('diff')
    const session = await isolated.create({ workspace: { path } })
    expect(await changesOf(session)).toEqual([])
    await session.run(
      [
        'echo new > new; mkdir -p added/below; echo x > added/below/x; ln -s keep link',
        'echo after > change; chmod 700 keep; rm remove',
        'rm -r dir/deep; rm -r dir; mkdir dir; echo again > dir/h',
        'touch .wh.real; exec 3<>keep; exec 3>&-',
      ].join('\n'),
    )
    expect((await changesOf(session)).toSorted()).toEqual(
      [
        `added file ${path}/.wh.real`,
        `added directory ${path}/added`,
        `added directory ${path}/added/below`,
        `added file ${path}/added/below/x`,
        `added file ${path}/dir/h`,
        `added symlink ${path}/link`,
        `added file ${path}/new`,
        `deleted directory ${path}/dir/deep`,
        `deleted file ${path}/dir/f`,
        `deleted file ${path}/remove`,
        `modified file ${path}/change`,
        `modified file ${path}/keep`,
      ].toSorted(),
    )
    expect(readdirSync(path).sort()).toEqual(['change', 'dir', 'keep', 'remove'])
  })

  test('I6: the commit makes it so below, and the session goes on with nothing changed', async () => {
    const path = folder('commit')
    symlinkSync('keep', join(path, 'was-link'))
    const session = await isolated.create({ workspace: { path } })
    await session.run(
      'echo new > new; chmod 640 new; chown 7:8 new; touch -d 2001-02-03 new; rm -r dir; mkdir dir; echo h > dir/h; rm remove; rm was-link; mkdir was-link; ln -s new to-new; mkfifo pipe; mkdir -m 700 private',
    )
    const { status, body } = await session.call('POST', '/commit')
    expect(status).toBe(200)
    expect(body.changes.length).toBeGreaterThan(8)
    expect(readdirSync(path).sort()).toEqual([
      'change',
      'dir',
      'keep',
      'new',
      'pipe',
      'private',
      'to-new',
      'was-link',
    ])
    expect(readdirSync(join(path, 'dir'))).toEqual(['h'])
    const made = lstatSync(join(path, 'new'))
    expect([made.mode & 0o777, made.uid, made.gid, made.mtime.getFullYear()]).toEqual([0o640, 7, 8, 2001])
    expect(readlinkSync(join(path, 'to-new'))).toBe('new')
    expect(lstatSync(join(path, 'pipe')).isFIFO()).toBe(true)
    expect(lstatSync(join(path, 'private')).mode & 0o777).toBe(0o700)
    expect(await changesOf(session)).toEqual([])
    expect((await session.run('pwd; ls dir; echo more > more')).stdout).toBe(`${path}\nh\n`)
    expect(await changesOf(session)).toEqual([`added file ${path}/more`])
    expect((await session.call('GET', '/files/info?path=more')).status).toBe(200)
  })

  test('a commit does not end what runs in the background', async () => {
    const session = await isolated.create({ workspace: { path: folder('busy') } })
    await session.call('POST', '/run', { code: 'sleep 1000', background: true })
    expect(await session.call('POST', '/commit')).toMatchObject({ status: 409, body: { code: 'CONFLICT' } })
  })

  test('a diff that is too large is refused', async () => {
    const session = await isolated.create({ workspace: { path: folder('large') } })
    await session.run('head -c 30000000 /dev/zero > big')
    for (const [method, path] of [
      ['GET', '/diff'],
      ['POST', '/commit'],
    ] as const)
      expect(await session.call(method, path)).toMatchObject({ status: 413, body: { code: 'TOO_LARGE' } })
    expect((await session.run('echo alive')).stdout).toBe('alive\n')
  })

  test('I5: a session that writes more than all may is ended, and says why', async () => {
    const session = await isolated.create({ workspace: { path: folder('greedy') } })
    const run = await session.run('head -c 80000000 /dev/zero > big; sync; sleep 60')
    expect(run.error?.evalue).toContain('upper_max_bytes')
    const state = await session.state()
    expect(state).toMatchObject({
      status: 'dead',
      message: expect.stringContaining('upper_max_bytes is 67108864'),
    })
    const refused = await isolated.call('POST', '/v1/isolated/session', {
      workspace: { path: folder('late') },
    })
    expect(refused).toMatchObject({ status: 503 })
    expect(refused.body.message).toContain('upper_max_bytes')
    await session.remove()
    await until(
      async () =>
        (await isolated.call('POST', '/v1/isolated/session', { workspace: { path: folder('late') } }))
          .status === 201,
      'room',
    )
  })

  test('several mounts lie in one session, each in its mode', async () => {
    const [outer, inner, fixed] = [folder('outer'), join(isolated.dir, 'outer/dir'), folder('fixed')]
    const session = await isolated.create({
      overlays: [{ path: outer }, { path: inner, mode: 'rw' }, { path: fixed, mode: 'ro' }],
    })
    await session.run(`echo o > ${outer}/o; echo i > ${inner}/i; echo x > ${fixed}/x`)
    expect(readdirSync(outer)).not.toContain('o')
    expect(readdirSync(inner)).toContain('i')
    expect(readdirSync(fixed)).not.toContain('x')
    const state = await session.state()
    expect(state.workspace).toBeUndefined()
    expect(state.overlays).toEqual([
      { path: outer, mode: 'overlay', persist: true },
      { path: inner, mode: 'rw' },
      { path: fixed, mode: 'ro' },
    ])
  })

  test('the whole root can be one where execd may mount, and what is not kept is in no diff', async () => {
    await using able = await startIsolated()
    const path = able.folder('temporary')
    const session = await able.create({ overlays: [{ path: '/' }, { path, persist: false }] })
    const { stdout, stderr } = await session.run(
      `cd ${path}; echo x > x; cat x; mkdir /etc/made && touch /etc/made/f && ls -A ${able.dir}/upper ${able.execd.dir}`,
    )
    expect(stderr).toBe('')
    expect(stdout).toBe(`x\n${able.execd.dir}:\n\n${able.dir}/upper:\n`)
    expect(await changesOf(session)).toEqual(['added directory /etc/made', 'added file /etc/made/f'])
    expect((await session.upload(`${path}/y`, 'y')).body.message).toContain('is not kept')
    const refused = await isolated.call('POST', '/v1/isolated/session', { overlays: [{ path: '/' }] })
    expect(refused).toMatchObject({ status: 503, body: { code: 'NOT_SUPPORTED' } })
    expect(refused.body.message).toContain('No overlay can lie over "/"')
  })

  test('keeps the owner and the mode of what it lies over', async () => {
    const path = folder('owned')
    chmodSync(path, 0o1777)
    const session = await isolated.create({ workspace: { path } })
    expect((await session.run('stat -c "%a %u" .')).stdout).toBe('1777 0\n')
  })
})
