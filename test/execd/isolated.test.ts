// Sessions in namespaces of their own, on the real kernel: this needs root and bubblewrap. Everything is tried twice, as execd
// makes them with CAP_SYS_ADMIN and, as in our sandboxes, without.

import { chmodSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type Isolated, isPossible, startIsolated, WITHOUT_MOUNTS } from './isolated/client.ts'

const WRAPPERS: [string, string[]][] = [
  ['with CAP_SYS_ADMIN', []],
  ['without any capability over mounts', WITHOUT_MOUNTS],
]

const TITLE = 'isolated sessions %s (skipped without root and bubblewrap)'
describe.skipIf(!isPossible()).each(WRAPPERS)(TITLE, (_what, wrapper) => {
  let isolated: Isolated
  beforeAll(async () => {
    isolated = await startIsolated({ wrapper })
  })
  afterAll(() => isolated[Symbol.asyncDispose]())
  const workspace = (name: string, files?: Record<string, string>) => ({
    path: isolated.folder(name, files),
    mode: 'rw',
  })

  test('the capabilities say what works, and what hardens the sandbox', async () => {
    const { status, body } = await isolated.call('GET', '/v1/isolated/capabilities')
    expect(status).toBe(200)
    expect(body).toMatchObject({
      available: true,
      isolator: 'bwrap',
      version: expect.stringMatching(/^\d+\.\d+/),
      setpriv_available: true,
      userns_available: true,
      overlay_supported: true,
      hardening: { init_mode: 'none', signal_shield: false },
    })
    expect(body.hardening.cap_drop.state).toBe('disabled')
    expect(body.hardening.cap_drop.message).toContain('CAP_SYS_MODULE')
    for (const layer of ['seccomp', 'landlock', 'ebpf'])
      expect(body.hardening[layer]).toMatchObject({ state: 'disabled', message: expect.any(String) })
  })

  test('a session is made, listed, described, and gone when it is deleted', async () => {
    const space = workspace('life')
    const made = await isolated.call('POST', '/v1/isolated/session', {
      workspace: space,
      idle_timeout_seconds: 100,
    })
    expect(made.status).toBe(201)
    const id = made.body.session_id
    expect(id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    const state = (await isolated.call('GET', `/v1/isolated/session/${id}`)).body
    expect(state).toMatchObject({
      status: 'active',
      created_at: made.body.created_at,
      profile: 'strict',
      workspace: space,
      overlays: [space],
      share_net: true,
      uid_mode: 'setpriv',
      idle_timeout_seconds: 100,
    })
    expect(state.idle_remaining_seconds).toBeGreaterThan(90)
    const { sessions } = (await isolated.call('GET', '/v1/isolated/sessions')).body
    expect(sessions).toContainEqual({
      session_id: id,
      status: 'active',
      created_at: state.created_at,
      last_run_at: state.last_run_at,
      idle_remaining_seconds: expect.any(Number),
    })
    expect(await isolated.call('DELETE', `/v1/isolated/session/${id}`)).toMatchObject({
      status: 200,
      text: '',
    })
    for (const method of ['GET', 'DELETE'])
      expect(await isolated.call(method, `/v1/isolated/session/${id}`)).toMatchObject({
        status: 404,
        body: { code: 'SESSION_NOT_FOUND' },
      })
    expect(readdirSync(join(isolated.dir, 'upper'))).not.toContain(id)
    expect(readdirSync(join(isolated.execd.dir, 'isolated'))).not.toContain(id)
  })

  test('the shell keeps what a shell keeps, from run to run', async () => {
    const session = await isolated.create({ workspace: workspace('state') })
    await session.run(
      'A="x  y"; export B=$A; f() { echo "f $1"; }; arr=(1 "2 3"); cd /usr; set -o pipefail; false',
    )
    const { stdout } = await session.run(
      'echo $?; pwd; echo "$A|$B"; f z; echo "$arr"; set -o | grep pipefail',
    )
    expect(stdout).toMatch(/^1\n\/usr\nx {2}y\|x {2}y\nf z\n1\npipefail\s+on\n$/)
  })

  test('I4: a stream has init, pings, both outputs with their line ends, and one end', async () => {
    const session = await isolated.create({ workspace: workspace('stream') })
    const good = await session.run('printf "a\\n\\nb"; echo err >&2')
    expect(good.events[0]).toMatchObject({ type: 'init', text: session.id })
    expect(good.events[1]?.type).toBe('ping')
    expect(good.stdout).toBe('a\n\nb')
    expect(good.stderr).toBe('err\n')
    expect(good.events.at(-1)?.type).toBe('execution_complete')
    const bad = await session.run('(exit 7)')
    expect(bad.error).toMatchObject({ ename: 'ExitError', evalue: '7' })
    expect(bad.events.filter(({ type }) => type === 'execution_complete')).toEqual([])
    expect((await session.run('no-such-program')).stderr).toBe(
      'bash: line 1: no-such-program: command not found\n',
    )
  })

  test('variables of one run go with it', async () => {
    const session = await isolated.create({ workspace: workspace('envs') })
    expect((await session.run({ code: 'echo "$X"; Y=1; exit 3', envs: { X: "it's\n$HOME" } })).stdout).toBe(
      "it's\n$HOME\n",
    )
    expect((await session.run('echo "[$X$Y]"')).stdout).toBe('[]\n')
  })

  test('I3: code that reads its input, exits, breaks out or replaces the shell ends its run and not the session', async () => {
    const session = await isolated.create({ workspace: workspace('i3') })
    await session.run('KEPT=yes')
    expect((await session.run('cat; head -c 100; read x; echo "end $?"')).stdout).toBe('end 1\n')
    expect((await session.run('exit 5')).error?.evalue).toBe('5')
    expect((await session.run('echo $? $KEPT')).stdout).toBe('5 yes\n')
    for (const code of [
      'break 9',
      'continue',
      'exec >/dev/null',
      'set -eu; true',
      'if true; then',
      'echo "open',
      'trap "" TERM',
    ])
      await session.run(code)
    expect((await session.run('set +eu; echo $KEPT')).stdout).toBe('yes\n')
    // What nobody could write down is lost, and that is told.
    const replaced = await session.run('exec sh -c "exit 4"')
    expect(replaced.error).toMatchObject({
      evalue: '4',
      traceback: [expect.any(String), expect.stringContaining('new one')],
    })
    expect((await session.run('echo "[$KEPT]"')).stdout).toBe('[]\n')
    expect((await session.run('kill -9 $$')).error?.evalue).toBe('137')
    expect((await session.run('echo alive')).stdout).toBe('alive\n')
  })

  test('I3: output that looks like what the shell says to execd is output', async () => {
    const session = await isolated.create({ workspace: workspace('spoof') })
    const { stdout, error } = await session.run('echo "end x 0"; echo ready; printf "gone 0\\n"; false')
    expect(stdout).toBe('end x 0\nready\ngone 0\n')
    expect(error?.evalue).toBe('1')
  })

  test('runs of one session go one after the other', async () => {
    const session = await isolated.create({ workspace: workspace('turns') })
    await session.run('n=0')
    await Promise.all(Array.from({ length: 20 }, () => session.run('m=$n; sleep 0.005; n=$((m+1))')))
    expect((await session.run('echo $n')).stdout).toBe('20\n')
  })

  test('I2: a session sees no other processes, none of what execd keeps, and no other sessions', async () => {
    const other = await isolated.create({ workspace: { path: isolated.folder('other') } })
    await other.run('echo secret > mine')
    const session = await isolated.create({ workspace: workspace('seen') })
    expect((await session.run('set -- /proc/[0-9]*; echo $#')).stdout).toBe('3\n')
    expect((await session.run(`ls -A ${isolated.dir}/upper ${isolated.execd.dir}`)).stdout).toBe(
      `${isolated.execd.dir}:\n\n${isolated.dir}/upper:\n`,
    )
    expect((await session.run('cat /proc/1/environ /proc/*/cmdline | tr "\\0" "\\n"')).stdout).not.toContain(
      'TOKEN',
    )
    expect((await session.run('hostname; echo $VISIBLE [$MY_TOKEN]')).stdout).toBe('sandbox\nyes []\n')
    expect(
      (await session.run('ls -A /tmp | grep -v execd-test; touch /tmp/x; touch /usr/x')).stderr,
    ).toContain('Read-only file system')
    expect(existsSync('/tmp/x')).toBe(false)
  })

  test('I2: a session is root of nothing but its files: no mounts, namespaces, chroot, devices or tracing', async () => {
    const session = await isolated.create({ workspace: workspace('caps') })
    for (const code of [
      'mount -t tmpfs x /tmp',
      'umount /tmp',
      'unshare --user true',
      'unshare --mount true',
      'nsenter --mount=/proc/1/ns/mnt true',
      'chroot / true',
      'mknod disk b 8 0',
      'hostname other',
      'python3 -c "import ctypes; r = ctypes.CDLL(None).ptrace(16, 1, 0, 0); exit(r != 0)"',
      'echo 1 > /proc/sys/kernel/sysrq',
    ])
      expect((await session.run(code)).error, code).toBeDefined()
    const status = (await session.run('grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status')).stdout
    expect(status).toBe('CapEff:\t00000000800004fb\nNoNewPrivs:\t1\nSeccomp:\t2\n')
    // What an ordinary root does with its files still works.
    expect((await session.run('touch f && chown 5:6 f && chmod 640 f && stat -c "%u %g %a" f')).stdout).toBe(
      '5 6 640\n',
    )
  })

  test('I2: the profile "minimal" has no homes and no secrets of the disk, and its network can be cut', async () => {
    const session = await isolated.create({
      workspace: workspace('minimal'),
      profile: 'minimal',
      share_net: false,
    })
    expect(
      (
        await session.run(
          'ls -A /root /home /srv /var/tmp 2>/dev/null | grep -v isolated-test; cat /etc/shadow',
        )
      ).stdout,
    ).toBe('/var/tmp:\n')
    expect((await session.run('python3 -c "print(6*7)"; echo made > f; cat f')).stdout).toBe('42\nmade\n')
    expect(
      (await session.run('tail -n +3 /proc/net/dev | wc -l; cat /proc/net/dev | grep -c lo:')).stdout,
    ).toBe('1\n1\n')
    const port = new URL(isolated.execd.url).port
    expect((await session.run(`exec 3<>/dev/tcp/127.0.0.1/${port}`)).error).toBeDefined()
  })

  test('another user is that user, with its files alone', async () => {
    const space = workspace('user')
    chmodSync(isolated.dir, 0o755)
    onTestFinished(() => chmodSync(isolated.dir, 0o700))
    const session = await isolated.create({ workspace: space, uid: 12_345, gid: 54_321 })
    expect((await session.run('id -u; id -g; id -G')).stdout).toBe('12345\n54321\n54321\n')
    expect((await session.run('grep CapEff /proc/self/status')).stdout).toBe('CapEff:\t0000000000000000\n')
    expect((await session.run('touch here')).error).toBeDefined()
    expect(
      (await session.run('echo x > /tmp/mine && echo y > /dev/stderr && echo z > /dev/shm/mine')).stderr,
    ).toBe('y\n')
  })

  test('a user namespace shows another number to the inside, and makes files of the one outside', async () => {
    const session = await isolated.create({
      workspace: workspace('userns'),
      uid_mode: 'userns',
      uid: 1000,
      gid: 1000,
    })
    expect(
      (await session.run('id -u; touch mine; stat -c %u mine; grep CapEff /proc/self/status')).stdout,
    ).toBe('1000\n1000\nCapEff:\t0000000000000000\n')
    expect((await session.run('unshare --user true')).error).toBeDefined()
  })

  test('binds lie where they are asked to, and only what is allowed can be bound', async () => {
    const source = isolated.folder('allowed/data', { f: 'bound\n' })
    const extra = isolated.folder('allowed/extra')
    const session = await isolated.create({
      workspace: workspace('binds'),
      extra_writable: [extra],
      binds: [
        { source, dest: '/mnt/data', readonly: true },
        { source: join(source, 'f'), dest: join(isolated.dir, 'binds/as-file') },
      ],
    })
    expect((await session.run('cat /mnt/data/f as-file')).stdout).toBe('bound\nbound\n')
    expect((await session.run('touch /mnt/data/x')).stderr).toContain('Read-only')
    await session.run(`echo out > ${extra}/f`)
    expect(readFileSync(join(extra, 'f'), 'utf8')).toBe('out\n')
    const refused = await isolated.call('POST', '/v1/isolated/session', {
      workspace: workspace('binds'),
      binds: [{ source: '/etc', readonly: true }],
    })
    expect(refused).toMatchObject({ status: 400, body: { code: 'INVALID_REQUEST_BODY' } })
    expect(refused.body.message).toContain(join(isolated.dir, 'allowed'))
  })

  test('a session runs as the user of the sandbox, and has what it made', async () => {
    await using other = await startIsolated({ wrapper, uid: 1234 })
    chmodSync(other.dir, 0o755)
    const path = join(other.dir, 'made')
    chmodSync(other.folder('.'), 0o777)
    const session = await other.create({ workspace: { path, mode: 'rw' } })
    expect((await session.run('id -u; stat -c %u .; echo x > x; ls')).stdout).toBe('1234\n1234\nx\n')
    expect((await session.upload('y', 'y')).status).toBe(200)
    expect((await session.run('stat -c "%u %n" *')).stdout).toBe('1234 x\n1234 y\n')
    const root = await other.create({ workspace: { path, mode: 'rw' }, uid: 0 })
    expect((await root.run('id -u')).stdout).toBe('0\n')
  })
})
