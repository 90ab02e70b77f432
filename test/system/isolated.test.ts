// Isolated sessions in sandboxes of the local runtime, by the published JavaScript SDK as it is: what an operator allows, what a
// session can and cannot do, and what the sandbox around it can do more than others.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { IsolationSession, Sandbox } from '@alibaba-group/opensandbox'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { type Execd, execdOf } from '../support/execd.ts'
import { busyboxTarball, debianTarball } from '../support/images.ts'
import { createSandbox, run } from '../support/sandbox.ts'

const ISOLATION = { 'bootstrap.execd.isolation': 'enable' }

let edge: Edge
/** A directory of the host that sandboxes may mount. */
let shared: string
let images: string
beforeAll(async () => {
  images = mkdtempSync(join(tmpdir(), 'isolated-images-'))
  shared = mkdtempSync(join(tmpdir(), 'isolated-volume-'))
  writeFileSync(join(shared, 'f'), 'from the host\n')
  // Nothing but the mount keeps anybody from writing here.
  chmodSync(shared, 0o777)
  chmodSync(join(shared, 'f'), 0o666)
  edge = await startEdge({
    config: [
      '[runtime]',
      'allow_isolated_sessions = true',
      '[runtime.images]',
      `debian = "${debianTarball()}"`,
      `busybox = "${busyboxTarball(images)}"`,
      '[storage]',
      `allowed_host_paths = ["${shared}"]`,
      '',
    ].join('\n'),
  })
}, 200_000)
afterAll(async () => {
  await edge?.dispose()
  for (const dir of [shared, images]) rmSync(dir, { recursive: true, force: true })
})

const textOf = (lines: { text: string }[]) => lines.map(({ text }) => text).join('')

describe.each(['debian', 'host'])('a sandbox of the image "%s" that may hold sessions', (image) => {
  let sandbox: Sandbox
  let execd: Execd
  beforeAll(async () => {
    sandbox = await createSandbox(edge, {
      image,
      extensions: ISOLATION,
      volumes: [{ name: 'shared', mountPath: '/mnt/shared', readOnly: true, host: { path: shared } }],
    })
    execd = await execdOf(edge, sandbox.id)
    await run(sandbox, 'mkdir -p /workspace/project && echo old > /workspace/project/old')
  })
  afterAll(async () => {
    await sandbox?.kill()
    await sandbox?.close()
  })
  const runIn = async (session: IsolationSession, code: string) => {
    const done = await session.run(code)
    return { exitCode: done.exitCode, stdout: textOf(done.logs.stdout), stderr: textOf(done.logs.stderr) }
  }

  test('the SDK finds them available, with overlays, though nobody has CAP_SYS_ADMIN', async () => {
    const capabilities = await sandbox.isolation.capabilities()
    expect(capabilities).toMatchObject({
      available: true,
      isolator: 'bwrap',
      setpriv_available: true,
      userns_available: true,
      diff_supported: true,
      commit_supported: true,
    })
    expect(capabilities.message).toBeUndefined()
    expect((await run(sandbox, 'grep CapBnd /proc/self/status')).stdout).toBe('CapBnd:\t00000000800405fb')
  })

  test('the SDK makes, attaches to, lists and deletes a session, and runs code in it', async () => {
    const session = await sandbox.isolation.create({
      workspace: { path: '/workspace/project' },
      idle_timeout_seconds: 600,
    })
    expect(session.info.workspace).toEqual({ path: '/workspace/project', mode: 'overlay' })
    expect(await runIn(session, 'pwd; cat old; echo new > new; A=kept')).toMatchObject({
      exitCode: 0,
      stdout: '/workspace/project\nold\n',
    })
    const attached = await sandbox.isolation.attach(session.sessionId)
    expect(attached.info.idle_timeout_seconds).toBe(600)
    expect(await runIn(attached, 'echo $A; ls; exit 3')).toMatchObject({
      exitCode: 3,
      stdout: 'kept\nnew\nold\n',
    })
    expect((await sandbox.isolation.list()).map(({ session_id }) => session_id)).toContain(session.sessionId)
    expect((await session.get()).status).toBe('active')
    const timed = await session.run('sleep 60', { timeout_seconds: 1 })
    expect(timed.error?.traceback?.[0]).toBe('timed out after 1 s')
    expect(textOf((await session.run('echo $X', { envs: { X: 'y' } })).logs.stdout)).toBe('y\n')
    await session.delete()
    await expect(session.get()).rejects.toThrow('404')
    expect((await run(sandbox, 'ls /workspace/project')).stdout).toBe('old')
  })

  test('the SDK reaches the files that the session sees', async () => {
    await sandbox.isolation.withSession(
      { workspace: { path: '/workspace/project' } },
      async ({ files, sessionId }) => {
        await files.writeFiles([{ path: 'up.txt', data: 'uploaded\n', mode: 640 }])
        await files.createDirectories([{ path: '/workspace/project/d', mode: 750 }])
        const handle = await sandbox.isolation.attach(sessionId)
        expect((await runIn(handle, 'cat up.txt; stat -c "%a %U" up.txt d; echo made > d/made')).stdout).toBe(
          'uploaded\n640 root\n750 root\n',
        )
        expect(await files.readFile('d/made')).toBe('made\n')
        expect(await files.readFile('up.txt', { offset: 1, limit: 1 })).toBe('uploaded')
        expect((await files.getFileInfo(['up.txt']))['up.txt']?.mode).toBe(640)
        await files.replaceContents([{ path: 'up.txt', oldContent: 'uploaded', newContent: 'changed' }])
        await files.moveFiles([{ src: 'up.txt', dest: 'd/moved' }])
        await files.setPermissions([{ path: 'd/moved', mode: 600 }])
        expect(
          (await files.search({ path: '/workspace/project', pattern: 'mo*' })).map(({ path }) => path),
        ).toEqual(['/workspace/project/d/moved'])
        expect((await files.listDirectory({ path: 'd' })).map(({ path }) => path)).toEqual([
          '/workspace/project/d/made',
          '/workspace/project/d/moved',
        ])
        await files.deleteFiles(['d/moved'])
        await files.deleteDirectories(['d'])
        expect((await runIn(handle, 'ls')).stdout).toBe('old\n')
        await expect(files.readFile('/etc/shadow')).rejects.toThrow()
      },
    )
  })

  test('the SDK runs code once, in any mode', async () => {
    expect(textOf((await sandbox.isolation.runOnce('cat old', '/workspace/project')).logs.stdout)).toBe(
      'old\n',
    )
    const fixed = await sandbox.isolation.runOnce('touch x', '/workspace/project', { workspaceMode: 'ro' })
    expect(fixed.exitCode).toBe(1)
    await sandbox.isolation.runOnce('echo shared > shared', '/workspace/project', { workspaceMode: 'rw' })
    expect((await run(sandbox, 'cat /workspace/project/shared; rm /workspace/project/shared')).stdout).toBe(
      'shared',
    )
  })

  test('runs go on in the background', async () => {
    const session = await sandbox.isolation.create({ workspace: { path: '/workspace/project', mode: 'rw' } })
    const path = `/v1/isolated/session/${session.sessionId}`
    const started = await execd.call(`${path}/run`, {
      method: 'POST',
      body: JSON.stringify({ code: 'echo begun; sleep 0.5; echo done; exit 2', background: true }),
    })
    expect(started.status).toBe(202)
    const { run_id } = (await started.json()) as { run_id: string }
    const status = async () => (await execd.call(`${path}/runs/${run_id}`)).json()
    await expect.poll(status).toMatchObject({ running: false, exit_code: 2 })
    const log = await execd.call(`${path}/runs/${run_id}/logs`)
    expect([await log.text(), log.headers.get('EXECD-ISOLATED-TAIL-CURSOR')]).toEqual(['begun\ndone\n', '11'])
  })

  test('a session is no way out of itself, and none to the rest of the sandbox', async () => {
    const session = await sandbox.isolation.create({ workspace: { path: '/workspace/project' } })
    for (const code of [
      'mount -t tmpfs x /tmp',
      'unshare --user true',
      'chroot / true',
      'touch /usr/x',
      'touch /etc/x',
      'touch /mnt/shared/x',
      'cat /run/opensandbox/exit.json',
      'hostname other',
    ])
      expect((await runIn(session, code)).exitCode, code).not.toBe(0)
    expect(
      (
        await runIn(
          session,
          'set -- /proc/[0-9]*; echo $#; ls -A /run/opensandbox /var/lib/execd/isolation 2>/dev/null',
        )
      ).stdout,
    ).toMatch(/^3\n(\/var\/lib\/execd\/isolation:\n)?$/)
    const cut = await sandbox.isolation.create({
      workspace: { path: '/workspace/project' },
      share_net: false,
    })
    expect((await runIn(cut, 'grep -c : /proc/net/dev')).stdout).toBe('1\n')
    const other = await sandbox.isolation.create({
      workspace: { path: '/workspace/project', mode: 'rw' },
      uid: 1000,
    })
    expect((await runIn(other, 'id -u; touch x')).stdout).toBe('1000\n')
    const userns = await sandbox.isolation.create({
      workspace: { path: '/workspace/project' },
      uid_mode: 'userns',
      uid: 7,
    })
    expect((await runIn(userns, 'id -u; echo x > x; stat -c %u x')).stdout).toBe('7\n7\n')
  })

  test('what a session changed can be told and kept', async () => {
    const session = await sandbox.isolation.create({ workspace: { path: '/workspace/project' } })
    await runIn(session, 'echo c > committed')
    const path = `/v1/isolated/session/${session.sessionId}`
    expect(await (await execd.call(`${path}/diff`)).json()).toMatchObject({
      changes: [{ path: '/workspace/project/committed', change: 'added', type: 'file', size: 2 }],
    })
    expect((await execd.call(`${path}/commit`, { method: 'POST' })).status).toBe(200)
    expect(
      (await run(sandbox, 'cat /workspace/project/committed && rm /workspace/project/committed')).stdout,
    ).toBe('c')
  })

  test('processes of the sandbox can make namespaces, and change neither its mounts, nor read-only volumes, nor its network', async () => {
    expect(
      (
        await run(
          sandbox,
          'unshare --map-root-user --user --mount --net sh -c "mount -t tmpfs x /mnt && echo made"',
        )
      ).stdout,
    ).toBe('made')
    for (const command of [
      'mount -t tmpfs x /srv',
      'umount /opt/opensandbox',
      'umount /mnt/shared',
      'mount -o remount,bind,rw /mnt/shared',
      'mount -o remount,bind,rw /opt/opensandbox',
      'touch /mnt/shared/x',
      'echo x >> /mnt/shared/f',
      'ip link set eth0 down',
      'ip addr add 10.0.0.1/8 dev eth0',
      'ip route del default',
      'nsenter --net=/proc/1/ns/net ip link add dummy0 type dummy',
      'nsenter --mount=/proc/1/ns/mnt true',
      'mknod /tmp/disk b 8 0',
    ]) {
      expect((await run(sandbox, command)).exitCode, command).not.toBe(0)
      // As root of a namespace of its own, the same.
      const inside = `unshare --map-root-user --user --mount sh -c '${command.startsWith('mount -t') ? 'touch /mnt/shared/x' : command}'`
      expect((await run(sandbox, inside)).exitCode, inside).not.toBe(0)
    }
    expect((await run(sandbox, 'ls /mnt/shared; cat /mnt/shared/f')).stdout).toBe('f\nfrom the host')
  })

  test("its egress is enforced whatever namespaces it makes: no way to the machine's ports, and none by IPv6", async () => {
    const server = createServer((socket) => socket.end('secret'))
    await new Promise<void>((resolve) => server.listen(0, '::', () => resolve()))
    onTestFinished(() => void server.close())
    const { port } = server.address() as { port: number }
    const gateway = (await run(sandbox, "sed -n 's/nameserver //p' /etc/resolv.conf")).stdout
    const connect = `timeout 3 bash -c "cat < /dev/tcp/${gateway}/${port}"`
    for (const command of [connect, `unshare --map-root-user --user ${connect}`]) {
      const tried = await run(sandbox, command)
      expect([tried.stdout, tried.exitCode === 0], command).toEqual(['', false])
    }
    // A setting of its own network namespace: there is an address then, and nobody hears what comes from it.
    await run(sandbox, 'for each in all eth0; do echo 0 > /proc/sys/net/ipv6/conf/$each/disable_ipv6; done')
    if ((await run(sandbox, 'grep -c eth0 /proc/net/if_inet6')).stdout === '0') return
    const neighbour = `python3 -c "import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
s.settimeout(2)
s.connect(('fe80::1', ${port}, 0, socket.if_nametoindex('eth0')))"`
    expect((await run(sandbox, neighbour)).exitCode).not.toBe(0)
  })

  test('what sessions write to overlays counts for the memory of the sandbox', async () => {
    expect((await run(sandbox, 'stat -f -c %T /var/lib/execd/isolation')).stdout).toBe('tmpfs')
  })
})

describe('an image', () => {
  const open = async (image: string) => {
    const sandbox = await createSandbox(edge, { image, extensions: ISOLATION, entrypoint: ['sleep', '1000'] })
    onTestFinished(async () => {
      await sandbox.kill()
      await sandbox.close()
    })
    return sandbox
  }

  test('I7: without bubblewrap uses that of the machine', async () => {
    const sandbox = await open('debian')
    await run(sandbox, 'rm /usr/bin/bwrap && mkdir -p /workspace')
    expect(textOf((await sandbox.isolation.runOnce('echo works', '/workspace')).logs.stdout)).toBe('works\n')
  })

  test('without bash has no sessions, and says so', async () => {
    const sandbox = await open('busybox')
    expect(await sandbox.isolation.capabilities()).toMatchObject({
      available: false,
      message: 'bash is missing in the image',
    })
  })
})

describe('a sandbox that did not ask', () => {
  let sandbox: Sandbox
  beforeAll(async () => {
    sandbox = await createSandbox(edge, { image: 'debian' })
  })
  afterAll(async () => {
    await sandbox?.kill()
    await sandbox?.close()
  })

  test('says why there are no sessions in it', async () => {
    const capabilities = await sandbox.isolation.capabilities()
    expect(capabilities).toMatchObject({ available: false, commit_supported: false, diff_supported: false })
    expect(capabilities.message).toContain('"bootstrap.execd.isolation" = "enable"')
    await expect(sandbox.isolation.create({ workspace: { path: '/workspace' } })).rejects.toThrow(
      /503.*isolation unavailable: namespaces cannot be made here/,
    )
    await expect(sandbox.isolation.list()).rejects.toThrow('503')
  })

  test('can make no namespaces', async () => {
    for (const command of ['unshare --user true', 'unshare --map-root-user --user true'])
      expect((await run(sandbox, command)).exitCode).not.toBe(0)
  })

  test('is hardened, and says so', async () => {
    const { hardening } = (await sandbox.isolation.capabilities()) as unknown as {
      hardening: Record<string, unknown>
    }
    expect(hardening).toMatchObject({
      init_mode: 'none',
      signal_shield: false,
      cap_drop: { state: 'active' },
      seccomp: { state: 'active' },
    })
  })
})
