// The files of a session through the API: the same that its shell sees.

import { chmodSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Isolated, isPossible, type Session, startIsolated, WITHOUT_MOUNTS } from './client.ts'

describe.skipIf(!isPossible())('the files of a session (skipped without root and bubblewrap)', () => {
  let isolated: Isolated
  beforeAll(async () => {
    isolated = await startIsolated({ wrapper: WITHOUT_MOUNTS })
    // Others than root walk through it to their workspace.
    chmodSync(isolated.dir, 0o755)
  })
  afterAll(() => isolated[Symbol.asyncDispose]())

  const download = async (session: Session, path: string) =>
    session.call('GET', `/files/download?path=${encodeURIComponent(path)}`)

  test.each([
    ['with CAP_SYS_ADMIN', true],
    ['without any capability over mounts', false],
  ])(
    'I1: what is uploaded is there for processes that already run, and what they write can be downloaded, %s',
    async (_what, canMount) => {
      await using able = canMount ? await startIsolated() : undefined
      const { folder, create, call } = able ?? isolated
      const path = folder('both', { old: 'old\n' })
      const session = await create({ workspace: { path } })
      const watching = session.run('while [ ! -e go ]; do sleep 0.01; done; cat go old; echo seen > answer')
      expect(await session.upload('go', 'uploaded\n')).toMatchObject({ status: 200 })
      expect((await watching).stdout).toBe('uploaded\nold\n')
      expect((await download(session, 'answer')).text).toBe('seen\n')
      expect((await download(session, join(path, 'old'))).text).toBe('old\n')
      // Nothing of it reaches what lies below.
      expect(readFileSync(join(path, 'old'), 'utf8')).toBe('old\n')
      expect((await call('GET', `/files/info?path=${path}/go`)).status).toBe(404)
    },
  )

  test('all routes work on them as the plain ones do', async () => {
    const path = isolated.folder('routes', { 'a.txt': 'alpha beta alpha\n' })
    const session = await isolated.create({ workspace: { path } })
    expect(await session.call('POST', '/directories', { 'd/e': { mode: 750 } })).toMatchObject({
      status: 200,
      text: '',
    })
    expect(await session.call('POST', '/files/mv', [{ src: 'a.txt', dest: 'd/b.txt' }])).toMatchObject({
      status: 200,
    })
    expect(
      await session.call('POST', '/files/replace', { 'd/b.txt': { old: 'alpha', new: 'x' } }),
    ).toMatchObject({ status: 200, body: { 'd/b.txt': { replacedCount: 2 } } })
    expect(await session.call('POST', '/files/permissions', { 'd/b.txt': { mode: 600 } })).toMatchObject({
      status: 200,
    })
    expect((await session.call('GET', '/files/info?path=d/b.txt')).body['d/b.txt']).toMatchObject({
      path: join(path, 'd/b.txt'),
      type: 'file',
      mode: 600,
    })
    const listed = await session.call('GET', `/directories/list?path=${path}&depth=2`)
    expect(listed.body.map((entry: { path: string }) => entry.path)).toEqual([
      join(path, 'd'),
      join(path, 'd/b.txt'),
      join(path, 'd/e'),
    ])
    expect((await session.call('GET', `/files/search?path=${path}&pattern=*.txt`)).body).toHaveLength(1)
    expect((await session.run('cat d/b.txt; stat -c %a d/e')).stdout).toBe('x beta x\n750\n')
    expect(await session.call('DELETE', '/files?path=d/b.txt')).toMatchObject({ status: 200, text: '' })
    expect(await session.call('DELETE', '/directories?path=d')).toMatchObject({ status: 200 })
    expect((await session.run('ls')).stdout).toBe('')
    expect(await session.call('GET', '/files/nothing')).toMatchObject({ status: 404 })
  })

  test('ranges and lines of a file', async () => {
    const session = await isolated.create({
      workspace: { path: isolated.folder('lines', { f: 'one\ntwo\nthree\n' }) },
    })
    const ranged = await isolated.execd.call(`${session.path}/files/download?path=f`, {
      headers: { Range: 'bytes=4-6' },
    })
    expect([ranged.status, await ranged.text(), ranged.headers.get('content-range')]).toEqual([
      206,
      'two',
      'bytes 4-6/14',
    ])
    expect((await session.call('GET', '/files/download?path=f&offset=2&limit=2')).text).toBe('two\nthree')
  })

  test('I7: a large file goes through in pieces both ways', async () => {
    const session = await isolated.create({ workspace: { path: isolated.folder('large') } })
    const size = 60_000_000
    expect((await session.upload('big', 'x'.repeat(size))).status).toBe(200)
    expect((await session.run('stat -c %s big')).stdout).toBe(`${size}\n`)
    const response = await isolated.execd.call(`${session.path}/files/download?path=big`)
    let bytes = 0
    for await (const chunk of response.body ?? []) bytes += chunk.length
    expect(bytes).toBe(size)
  })

  test('I1: no path leads out, by dots, by links, or by what the session changes under it', async () => {
    const path = isolated.folder('confined')
    isolated.folder('beside', { secret: 'secret' })
    const session = await isolated.create({ workspace: { path } })
    await session.run(
      `ln -s ${isolated.dir}/beside out; ln -s /etc etc; ln -s ../beside/new new; mkdir real; ln -s real in`,
    )
    for (const target of [
      '../beside/secret',
      `${isolated.dir}/beside/secret`,
      'out/secret',
      'etc/passwd',
      '/etc/passwd',
      '/proc/self/environ',
    ])
      expect(await download(session, target), target).toMatchObject({
        status: 400,
        body: { message: expect.stringContaining('leads out of the session') },
      })
    for (const target of ['new', 'out/x', 'etc/x', '../x'])
      expect((await session.upload(target, 'x')).status, target).toBe(400)
    for (const [method, below, body] of [
      ['DELETE', '/files?path=out/secret', undefined],
      ['POST', '/files/mv', [{ src: 'out/secret', dest: 'got' }]],
      ['POST', '/files/mv', [{ src: 'real', dest: '/etc/real' }]],
      ['POST', '/directories', { 'out/made': {} }],
      ['GET', '/directories/list?path=/', undefined],
    ] as const)
      expect((await session.call(method, below, body)).status, below).toBe(400)
    expect(await session.upload('in/f', 'fine')).toMatchObject({ status: 200 })
    expect(await session.call('DELETE', '/files?path=out')).toMatchObject({ status: 200 })
    expect(readFileSync(join(isolated.dir, 'beside/secret'), 'utf8')).toBe('secret')
  })

  test('what is read-only stays so', async () => {
    const path = isolated.folder('fixed', { f: 'x' })
    const session = await isolated.create({ workspace: { path, mode: 'ro' } })
    expect((await download(session, 'f')).text).toBe('x')
    for (const [method, below, body] of [
      ['DELETE', '/files?path=f', undefined],
      ['POST', '/directories', { made: {} }],
      ['POST', '/files/permissions', { f: { mode: 600 } }],
      ['POST', '/files/replace', { f: { old: 'x', new: 'y' } }],
    ] as const)
      expect(await session.call(method, below, body), below).toMatchObject({
        status: 400,
        body: { message: expect.stringContaining('read-only') },
      })
  })

  test('the API has the rights of the session and no more', async () => {
    const path = isolated.folder('rights')
    chmodSync(path, 0o777)
    const session = await isolated.create({ workspace: { path, mode: 'rw' }, uid: 12_345 })
    expect((await session.upload('mine', 'x')).status).toBe(200)
    expect((await session.run('stat -c "%u %g" mine')).stdout).toBe('12345 12345\n')
    const root = await isolated.create({ workspace: { path, mode: 'rw' } })
    await root.run('echo secret > theirs; chmod 600 theirs')
    expect((await download(session, 'theirs')).status).toBe(500)
    expect((await download(root, 'theirs')).text).toBe('secret\n')
  })

  test('neither the socket nor the process behind the API is in reach of the session', async () => {
    const session = await isolated.create({ workspace: { path: isolated.folder('hidden') } })
    await session.call('GET', '/files/info?path=.')
    expect((await session.run(`ls -A ${isolated.execd.dir}; set -- /proc/[0-9]*; echo $#`)).stdout).toMatch(
      /^3\n$/,
    )
  })

  test('an unknown session is not found', async () => {
    expect(await isolated.call('GET', '/v1/isolated/session/none/files/info?path=x')).toMatchObject({
      status: 404,
      body: { code: 'SESSION_NOT_FOUND' },
    })
  })
})
