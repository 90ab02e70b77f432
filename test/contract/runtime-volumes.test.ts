// Volumes and the limits of a disk, the same on every runtime: host directories and named volumes, what a hostile sandbox may put in
// them, and that nothing of them stays or is lost.
//
// Exceptions: a disk is limited by the local runtime everywhere, by Docker only where its storage can; each says so beforehand, and the
// case for a limit runs where there is one.

import { execFileSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { RuntimeSandbox, RuntimeSpec } from '../../control/runtime/runtime.ts'
import type { VolumeMount, Volumes } from '../../control/runtime/volumes.ts'
import { createSnapshotId } from '../../lib/id.ts'
import { type OpenedRuntime, openTestRuntime, RUNTIME_NAMES, runIn, specOf, whyNot } from './runtimes.ts'

const soon = () => AbortSignal.timeout(30_000)
const keyOf = (name: string) => `vtest${name}${Math.random().toString(16).slice(2, 10)}`

describe.each(RUNTIME_NAMES)('volumes of the %s runtime', (name) => {
  const reason = whyNot(name)
  if (reason !== undefined) {
    test.skip(`are not tried, as ${reason}`)
    return
  }
  let opened: OpenedRuntime
  let volumes: Volumes
  /** What the operator allows. */
  let allowed: string
  /** Two sandboxes that share what is tried. */
  let one: { spec: RuntimeSpec; sandbox: RuntimeSandbox }
  let other: { spec: RuntimeSpec; sandbox: RuntimeSandbox }
  const shared = keyOf('shared')

  const make = async (change: Partial<RuntimeSpec>) => {
    const spec = specOf(change)
    return { spec, sandbox: await opened.runtime.create(spec, soon()) }
  }
  const trying = async (change: Partial<RuntimeSpec>) => {
    const made = await make(change)
    onTestFinished(() => opened.runtime.remove(made.spec.id, { graceMs: 0 }, soon()))
    return made
  }
  const run = ({ spec, sandbox }: typeof one, command: string) => runIn(sandbox, spec, command)
  const volume = (key: string, target: string, more: Partial<VolumeMount> = {}): VolumeMount => ({
    key,
    target,
    readOnly: false,
    ...more,
  })
  const made = async (label: string) => {
    const key = keyOf(label)
    await volumes.create(key, soon())
    onTestFinished(() => volumes.remove(key, soon()))
    return key
  }

  beforeAll(async () => {
    opened = await openTestRuntime(name)
    allowed = mkdtempSync(join(tmpdir(), 'allowed-'))
    mkdirSync(join(allowed, 'dir'))
    writeFileSync(join(allowed, 'file'), 'of the host')
    const owner = opened.runtime.rootOwner ?? { uid: 0, gid: 0 }
    execFileSync('chown', ['-R', `${owner.uid}:${owner.gid}`, join(allowed, 'dir')])
    const found = opened.runtime.volumes
    if (!found) throw new Error('the runtime has no volumes')
    volumes = found
    await volumes.create(shared, soon())
    const mounts = [
      { source: join(allowed, 'dir'), target: '/mnt/host', readOnly: false },
      { source: join(allowed, 'file'), target: '/mnt/file', readOnly: true },
    ]
    one = await make({
      mounts,
      volumes: [volume(shared, '/data'), volume(shared, '/data/sub', { subPath: 'a/b' })],
    })
    other = await make({ volumes: [volume(shared, '/mnt/shared', { readOnly: true })] })
  })
  afterAll(async () => {
    for (const each of [one, other])
      if (each) await opened.runtime.remove(each.spec.id, { graceMs: 0 }, soon())
    await volumes?.remove(shared, soon())
    await opened?.dispose()
    if (allowed) rmSync(allowed, { recursive: true, force: true })
  })

  test('a host directory and a file of the host are mounted, the one to write, the other to read', async () => {
    expect((await run(one, 'echo hello > /mnt/host/new && cat /mnt/file')).stdout).toBe('of the host')
    expect(readFileSync(join(allowed, 'dir/new'), 'utf8')).toBe('hello\n')
    expect((await run(one, 'echo x > /mnt/file')).exitCode).not.toBe(0)
  })

  test('a named volume is shared as it is written, and not written to where it is read-only', async () => {
    expect((await run(one, 'echo one > /data/x && id -u && stat -c %u /data')).stdout).toBe('0\n0')
    expect((await run(other, 'cat /mnt/shared/x')).stdout).toBe('one')
    for (const command of ['touch /mnt/shared/y', 'rm /mnt/shared/x', 'mount -o remount,rw /mnt/shared'])
      expect((await run(other, command)).exitCode, command).not.toBe(0)
  })

  test('subPath is made when it is missing, and lies over what it is mounted in', async () => {
    expect((await run(one, 'echo deep > /data/sub/y && ls /data/a/b')).stdout).toBe('y')
    expect((await run(other, 'cat /mnt/shared/a/b/y')).stdout).toBe('deep')
  })

  test('a volume outlives its sandboxes, and its size is known', async () => {
    const key = await made('lives')
    const first = await make({ volumes: [volume(key, '/data')] })
    await run(first, 'head -c 3000000 /dev/urandom > /data/big; sync /data/big')
    await opened.runtime.remove(first.spec.id, { graceMs: 0 }, soon())
    expect(await volumes.list(soon())).toContain(key)
    expect(await volumes.sizeOf(key, soon())).toBeGreaterThan(2_900_000)
    const second = await trying({ volumes: [volume(key, '/data', { readOnly: true })] })
    expect((await run(second, 'stat -c %s /data/big')).stdout).toBe('3000000')
  })

  test('a volume is made and removed as often as somebody asks', async () => {
    const key = keyOf('twice')
    for (let at = 0; at < 2; at++) await volumes.create(key, soon())
    expect((await volumes.list(soon())).filter((found) => found === key)).toHaveLength(1)
    for (let at = 0; at < 2; at++) await volumes.remove(key, soon())
    expect(await volumes.list(soon())).not.toContain(key)
  })

  test('S22: links that a sandbox puts into a volume lead no other one out of it', async () => {
    const key = await made('hostile')
    const evil = await make({ volumes: [volume(key, '/data')] })
    const links = ['/', '/etc', '../../../..', '../../..', allowed, '/proc/1/root', 'loop']
    for (const [at, to] of links.entries())
      expect((await run(evil, `ln -s ${to} /data/l${at}`)).exitCode).toBe(0)
    await run(
      evil,
      'ln -s loop /data/loop; mkdir -p /data/real/inner; ln -s real /data/near; echo x > /data/plain',
    )
    for (const subPath of [
      ...links.map((_, at) => `l${at}`),
      'l0/etc',
      'l4/dir',
      'loop/x',
      'plain',
      'plain/x',
    ]) {
      const tried = make({ volumes: [volume(key, '/mnt/x', { subPath })] })
      if (subPath === 'plain') {
        await opened.runtime.remove((await tried).spec.id, { graceMs: 0 }, soon())
        continue
      }
      await expect(tried, subPath).rejects.toMatchObject({ failure: 'sub_path_refused' })
    }
    // One that stays within leads where it says.
    const near = await trying({ volumes: [volume(key, '/mnt/x', { subPath: 'near/inner/made' })] })
    expect((await run(near, 'touch /mnt/x/here')).exitCode).toBe(0)
    expect((await run(evil, 'ls /data/real/inner/made')).stdout).toBe('here')
    await opened.runtime.remove(evil.spec.id, { graceMs: 0 }, soon())
    expect(readdirSync(allowed).sort()).toEqual(['dir', 'file'])
  })

  test('S22: a host path that became a link since it was judged is not mounted', async () => {
    const swapped = join(allowed, 'swapped')
    symlinkSync('/etc', swapped)
    onTestFinished(() => rmSync(swapped))
    for (const source of [swapped, join(swapped, 'ssl')])
      await expect(make({ mounts: [{ source, target: '/mnt/x', readOnly: true }] })).rejects.toMatchObject({
        failure: 'host_path_refused',
      })
  })

  test('a volume whose files somebody has removed is told of, and not an empty one in its place', async () => {
    const key = keyOf('pruned')
    await volumes.create(key, soon())
    await volumes.remove(key, soon())
    onTestFinished(() => volumes.remove(key, soon()))
    for (const more of [{}, { subPath: 'a' }])
      await expect(trying({ volumes: [volume(key, '/data', more)] })).rejects.toThrow(/volume.* gone/)
    expect(await volumes.list(soon())).not.toContain(key)
  })

  test('removing a volume removes no file that its links lead to', async () => {
    const key = keyOf('links')
    await volumes.create(key, soon())
    const sandbox = await make({ volumes: [volume(key, '/data')] })
    await run(sandbox, `ln -s ${allowed} /data/out; mkdir /data/deep; ln -s ${allowed}/file /data/deep/file`)
    await opened.runtime.remove(sandbox.spec.id, { graceMs: 0 }, soon())
    await volumes.remove(key, soon())
    expect(readFileSync(join(allowed, 'file'), 'utf8')).toBe('of the host')
  })

  test('nothing of the mounts of a sandbox stays, whether its create succeeds or not', async () => {
    const places = join(opened.instance.runDir, 'mounts')
    const key = await made('places')
    const mounts = [{ source: join(allowed, 'dir'), target: '/mnt/host', readOnly: true }]
    const good = await make({ mounts, volumes: [volume(key, '/data', { subPath: 'x' })] })
    expect(existsSync(join(places, good.spec.id))).toBe(true)
    await opened.runtime.remove(good.spec.id, { graceMs: 0 }, soon())
    const bad = specOf({
      mounts,
      volumes: [volume(key, '/data', { subPath: 'x' })],
      entrypoint: ['/no/such'],
    })
    await expect(opened.runtime.create(bad, soon())).rejects.toMatchObject({ failure: 'entrypoint_failed' })
    for (const { id } of [good.spec, bad]) {
      expect(existsSync(join(places, id))).toBe(false)
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(id)
    }
    expect(lstatSync(join(allowed, 'dir')).isDirectory()).toBe(true)
  })

  test('mounts go on when control is closed and opened again, and can be taken away then', async () => {
    await opened.reopen()
    volumes = opened.runtime.volumes ?? volumes
    expect((await run(one, 'echo again > /data/again && cat /mnt/file')).stdout).toBe('of the host')
    const key = await made('reopened')
    const fresh = await make({ volumes: [volume(key, '/data', { subPath: 'x' })] })
    await opened.reopen()
    volumes = opened.runtime.volumes ?? volumes
    await opened.runtime.remove(fresh.spec.id, { graceMs: 0 }, soon())
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(fresh.spec.id)
  })

  test('S10: memory has no swap beside it, and CPUs, memory and disk are told as the machine has them', async () => {
    const { abilities } = opened.runtime
    expect(abilities?.cpus).toBeGreaterThan(0)
    expect(abilities?.memoryBytes).toBeGreaterThan(2 ** 28)
    expect(abilities?.gpus).toMatch(/GPU/)
    if (name === 'local') expect(abilities?.disk).toBeGreaterThan(2 ** 30)
    else expect(abilities?.disk).toMatch(/storage driver|xfs/)
    const limit = `$(cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes)`
    expect((await run(one, `echo ${limit}`)).stdout).toBe(String(256 << 20))
  })

  if (name === 'local')
    test('a sandbox with a disk of its own can be kept as a snapshot', async () => {
      const { snapshots } = opened.runtime
      if (!snapshots) throw new Error('the runtime takes no snapshots')
      const limits = { memoryBytes: 256 << 20, diskBytes: 64 << 20 }
      const source = await trying({ limits })
      await run(source, 'echo kept > /root/kept; sync')
      const snapshotId = createSnapshotId({ hidden: false })
      onTestFinished(() => snapshots.remove(snapshotId, soon()))
      await snapshots.create(source.spec.id, snapshotId, soon())
      const restored = await make({ snapshotId, limits })
      expect((await run(restored, 'cat /root/kept')).stdout).toBe('kept')
      await opened.runtime.remove(restored.spec.id, { graceMs: 0 }, soon())
    })

  if (name === 'local')
    test('S10: a disk is as large as it was given, for root in the sandbox too, and nothing of it stays', async () => {
      const disk = await make({ limits: { memoryBytes: 256 << 20, diskBytes: 64 << 20 } })
      const folder = join(opened.dataDir, 'sandboxes', disk.spec.id)
      const filled = await run(
        disk,
        'cat /dev/zero > /root/fill; cat /dev/zero > /etc/fill; df -m / | tail -1',
      )
      expect(filled.stdout).toMatch(/100%/)
      const errors = await run(disk, 'head -c 4000000 /dev/zero > /tmp/one-more')
      expect(errors.exitCode).not.toBe(0)
      // The directory by which it speaks to the host is no way around the limit.
      await run(disk, 'head -c 200000000 /dev/zero > /run/opensandbox/fill')
      expect(Number(execFileSync('du', ['-smx', folder], { encoding: 'utf8' }).split('\t')[0])).toBeLessThan(
        70,
      )
      expect((await run(disk, 'echo still here')).stdout).toBe('still here')
      expect((await run(disk, 'rm /root/fill /etc/fill && echo x > /root/y && cat /root/y')).stdout).toBe('x')

      await opened.reopen()
      volumes = opened.runtime.volumes ?? volumes
      expect((await opened.runtime.inspect(disk.spec.id, soon()))?.state).toBe('running')
      expect((await run(disk, 'head -c 90000000 /dev/zero > /root/more')).exitCode).not.toBe(0)
      await opened.runtime.remove(disk.spec.id, { graceMs: 0 }, soon())
      expect(existsSync(folder)).toBe(false)
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(disk.spec.id)
      expect(
        execFileSync('losetup', ['--list', '--output', 'BACK-FILE'], { encoding: 'utf8' }),
      ).not.toContain(disk.spec.id)
    })

  if (name === 'docker')
    test('what a sandbox with a disk tells the host does not count for the disk of the host, and goes with it', async () => {
      const spec = specOf({ limits: { memoryBytes: 256 << 20, diskBytes: 64 << 20 } })
      const folder = join(opened.dataDir, 'sandboxes', spec.id)
      let room: number | undefined
      const phaseDone = (step: string) => {
        if (step !== 'root') return
        const { blocks, bsize } = statfsSync(join(folder, 'exchange'))
        room = blocks * bsize
      }
      // The daemon of the tests limits no disk, and refuses: what was made before that has to go.
      await expect(opened.runtime.create(spec, soon(), { phaseDone })).rejects.toThrow(/storage-opt/)
      expect(room).toBe(32 << 20)
      expect(existsSync(folder)).toBe(false)
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(spec.id)
    })
})
