import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { parseBootFile } from '../../execd/config.ts'
import { idOf, outputOf, startDaemon, until } from './daemon.ts'

const exit = (dir: string) =>
  until(
    async () =>
      existsSync(join(dir, 'exit.json')) && JSON.parse(readFileSync(join(dir, 'exit.json'), 'utf8')),
    'exit.json',
  )

describe('execd as supervisor', () => {
  test('deletes the boot file, starts the entrypoint in its directory, and keeps its output', async () => {
    await using execd = await startDaemon({
      entrypoint: ['sh', '-c', 'pwd; echo error > /dev/stderr; env; exec sleep 1000'],
    })
    expect(execd.ready).toEqual({ ok: true, port: expect.any(Number) })
    expect(existsSync(join(execd.dir, 'boot.json'))).toBe(false)
    const log = await until(async () => {
      const text = readFileSync(join(execd.dir, 'entrypoint.log'), 'utf8')
      return text.includes('FROM_BOOT') && text
    }, 'the log of the entrypoint')
    expect(log.startsWith(`${execd.workdir}\nerror\n`)).toBe(true)
    expect(log).not.toMatch(/NODE_|LD_LIBRARY|secret/)
    expect(statSync(join(execd.dir, 'entrypoint.log')).mode & 0o777).toBe(0o600)
    // Nothing that a user's process can see of execd has the token.
    const shown = ['cmdline', 'environ'].map((name) =>
      readFileSync(`/proc/${execd.process.pid}/${name}`, 'latin1'),
    )
    expect(shown.join()).not.toContain('secret-token')
  })

  test.each([
    [['sh', '-c', 'exit 0'], 0, { exitCode: 0 }],
    [['sh', '-c', 'exit 42'], 42, { exitCode: 42 }],
    [['sh', '-c', 'kill -KILL $$'], 137, { exitCode: 137, signal: 'SIGKILL' }],
  ])('ends with its entrypoint: %j gives %i', async (entrypoint, code, file) => {
    await using execd = await startDaemon({ entrypoint })
    expect(await exit(execd.dir)).toEqual(file)
    await until(async () => execd.process.exitCode !== null, 'execd to exit')
    expect(execd.process.exitCode).toBe(code)
  })

  test.each([
    [['/nowhere/program'], 127, 'Cannot find the program "/nowhere/program"'],
    [['no-such-program'], 127, 'in PATH "/usr/bin:/bin"'],
    [['/etc/passwd'], 126, 'permission denied'],
    [['/tmp'], 126, 'it is a directory'],
  ])('says why %j cannot be started', async (entrypoint, code, message) => {
    await using execd = await startDaemon({ entrypoint })
    expect(execd.ready).toEqual({
      ok: false,
      reason: 'entrypoint_failed',
      message: expect.stringContaining(message),
    })
    expect(await exit(execd.dir)).toMatchObject({ exitCode: code })
    expect(execd.process.exitCode ?? (await until(async () => execd.process.exitCode, 'execd to exit'))).toBe(
      code,
    )
  })

  test('says that its directory cannot be made, also below /proc', async () => {
    await using execd = await startDaemon({ workdir: '/proc/no/such' })
    expect(execd.ready).toMatchObject({
      ok: false,
      message: expect.stringContaining('cannot make the working directory "/proc/no/such"'),
    })
    expect(await exit(execd.dir)).toMatchObject({ exitCode: 126 })
  })

  test('told to stop before there was a boot file, it does', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'execd-test-'))
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
    const main = join(import.meta.dirname, '../../execd/main.ts')
    // Of an earlier life: removed as soon as it runs.
    const ready = join(dir, 'ready.json')
    writeFileSync(ready, '{}')
    const child = spawn(process.execPath, [main, '--exchange-dir', dir], { stdio: 'ignore', env: {} })
    const exited = once(child, 'exit')
    await until(async () => !existsSync(ready), 'it to begin')
    child.kill('SIGTERM')
    expect(await exited).toEqual([143, null])
    expect(await exit(dir)).toMatchObject({ exitCode: 143 })
  })

  test('says when its port is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const address = server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    await using execd = await startDaemon({ port })
    server.close()
    expect(execd.ready).toMatchObject({
      ok: false,
      reason: 'listen_failed',
      message: expect.stringContaining(`:${port}`),
    })
    await until(async () => execd.process.exitCode !== null, 'execd to exit')
    expect(execd.process.exitCode).toBe(1)
  })

  test('R2: forwards TERM, and the entrypoint has its time to end', async () => {
    await using execd = await startDaemon({
      entrypoint: ['sh', '-c', 'trap "echo bye; exit 9" TERM; echo up; while :; do sleep 0.05; done'],
      stopGraceMs: 20_000,
    })
    const log = () => readFileSync(join(execd.dir, 'entrypoint.log'), 'utf8')
    await until(async () => log().includes('up'), 'the entrypoint')
    expect(await execd.stop()).toEqual({ exitCode: 9 })
    expect(log()).toBe('up\nbye\n')
  })

  test('kills what ignores TERM after the grace, and everything else that runs', async () => {
    await using execd = await startDaemon({
      entrypoint: ['sh', '-c', 'trap "" TERM; echo armed; while :; do sleep 0.05; done'],
      stopGraceMs: 300,
    })
    const armed = () => readFileSync(join(execd.dir, 'entrypoint.log'), 'utf8') !== ''
    await until(async () => armed(), 'the entrypoint')
    const events = await execd.run({
      command: 'trap "" TERM; echo $$; while :; do sleep 0.05; done',
      background: true,
    })
    const id = idOf(events)
    const pid = Number(
      await until(async () => (await execd.call(`/command/${id}/logs`)).text(), 'the number of the command'),
    )
    expect(await execd.stop()).toEqual({ exitCode: 137, signal: 'SIGKILL' })
    await until(async () => {
      if (!existsSync(`/proc/${pid}/stat`)) return true
      return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    }, 'the command to end')
  })

  test('R2: tells the stream of a running command that it has ended', async () => {
    await using execd = await startDaemon()
    const response = await execd.call('/command', { method: 'POST', body: '{"command":"sleep 1000"}' })
    const text = response.text()
    await execd.stop()
    expect(await text).toContain('"signal: terminated"')
  })

  test('bounds the log of the entrypoint', async () => {
    await using execd = await startDaemon({
      entrypoint: ['sh', '-c', 'head -c 20000000 /dev/zero; echo end; exec sleep 1000'],
    })
    const size = (name: string) => statSync(join(execd.dir, name), { throwIfNoEntry: false })?.size ?? 0
    const log = join(execd.dir, 'entrypoint.log')
    // While the log turns over there is no file of that name for a moment.
    const read = () => spawnSync('cat', [log], { encoding: 'utf8', maxBuffer: 1e8 }).stdout
    await until(async () => read().includes('end\n'), 'the end of the output')
    expect(size('entrypoint.log') + size('entrypoint.log.1')).toBeLessThanOrEqual(8 << 20)
  })

  test('is a less likely victim than its children when memory runs out', async () => {
    await using execd = await startDaemon()
    const own = Number(readFileSync(`/proc/${execd.process.pid}/oom_score_adj`, 'utf8'))
    const child = Number(outputOf(await execd.run({ command: 'cat /proc/self/oom_score_adj' })))
    expect(own).toBeLessThan(child)
  })

  test('runs entrypoint and commands as the user of the image, who owns what is made', async (context) => {
    if (process.getuid?.() !== 0) return context.skip('changing the user needs root')
    await using execd = await startDaemon({
      uid: 1234,
      gid: 1235,
      entrypoint: ['sh', '-c', 'id -u; exec sleep 1000'],
    })
    execFileSync('chmod', ['711', join(execd.dir, '..')])
    expect(outputOf(await execd.run({ command: 'id -u; id -g; echo x > /dev/stdout' }))).toBe(
      '1234\n1235\nx\n',
    )
    const made = await execd.call('/directories', { method: 'POST', body: '{"a/b":{}}' })
    expect(made.status).toBe(200)
    const stat = statSync(join(execd.workdir, 'a'))
    expect([stat.uid, stat.gid]).toEqual([1234, 1235])
    const set = `printf 'MINE=1\\n' >> "$EXECD_ENVS"`
    expect((await execd.run({ command: set })).at(-1)?.type).toBe('execution_complete')
    expect(outputOf(await execd.run({ command: 'echo $MINE' }))).toBe('1\n')
    // That user may write to the file, and would become root by what root's processes take from it.
    expect(outputOf(await execd.run({ command: 'echo "[$MINE]"', uid: 0 }))).toBe('[]\n')
  })
})

describe('parseBootFile()', () => {
  const good = {
    token: 't',
    host: '0.0.0.0',
    port: 1,
    entrypoint: ['a'],
    env: {},
    workdir: '/',
    stopGraceMs: 0,
  }

  test('takes what control writes', () => {
    expect(parseBootFile(JSON.stringify(good))).toEqual(good)
  })

  test.each([
    [{ token: '' }, '"token"'],
    [{ port: 70000 }, '"port" must be an integer from 0 to 65535: found 70000'],
    [{ entrypoint: [] }, '"entrypoint"'],
    [{ entrypoint: ['a\0'] }, '"entrypoint"'],
    [{ env: { A: 1 } }, '"env"'],
    [{ workdir: 'a' }, '"workdir"'],
    [{ uid: -1 }, '"uid"'],
    [{ stopGraceMs: undefined }, '"stopGraceMs"'],
    [{ port: 'x', host: '' }, '"port"'],
  ])('refuses %j', (change, message) => {
    expect(() => parseBootFile(JSON.stringify({ ...good, ...change }))).toThrow(message)
  })

  test('never shows the token', () => {
    expect(() => parseBootFile(JSON.stringify({ ...good, token: { a: 'secret' } }))).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('secret') }),
    )
  })
})
