// What only a Docker daemon can do to sandboxes: end at any moment, come back without them, have containers of others, and be told
// by others what to do with ours.

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { pause } from '../../control/async.ts'
import type { RuntimeEvent, RuntimeSpec } from '../../control/runtime/runtime.ts'
import { createSnapshotId } from '../../lib/id.ts'
import { createControlApp, MINIMAL } from '../support/control-app.ts'
import { MAPPED_ID, OTHER_RUNTIME, startDocker, type TestDocker } from '../support/docker.ts'
import { DEBIAN, type OpenedRuntime, openTestRuntime, runIn, specOf, whyNot } from './runtimes.ts'

const soon = () => AbortSignal.timeout(30_000)
const reason = whyNot('docker')

describe.skipIf(reason !== undefined)(`on Docker${reason ? `, not tried, as ${reason}` : ''}`, () => {
  let docker: TestDocker
  let opened: OpenedRuntime

  beforeAll(async () => {
    docker = await startDocker()
    opened = await openTestRuntime('docker', {
      docker,
      config: `[secure_runtime]\ntype = "gvisor"\ndocker_runtime = "${OTHER_RUNTIME}"\n`,
    })
  })
  afterAll(async () => {
    await opened?.dispose()
    await docker?.dispose()
  })

  const make = async (change: Partial<RuntimeSpec> = {}) => {
    const spec = specOf(change)
    const sandbox = await opened.runtime.create(spec, soon())
    onTestFinished(() => opened.runtime.remove(spec.id, { graceMs: 0 }, soon()))
    return { spec, sandbox, name: `opensandbox-${opened.instance.key}-${spec.id}` }
  }
  const remove = (id: string) => opened.runtime.remove(id, { graceMs: 0 }, soon())

  /** Collects what the runtime tells for as long as the test runs. */
  const follow = () => {
    const told: RuntimeEvent[] = []
    const stop = new AbortController()
    const following = (async () => {
      for await (const event of opened.runtime.watch(stop.signal)) told.push(event)
    })()
    onTestFinished(async () => {
      stop.abort()
      await following
    })
    return told
  }
  const endsOf = (told: RuntimeEvent[]) =>
    told.flatMap((event) => (event.type === 'exited' ? [event.sandbox] : []))

  const expectNothing = async () => {
    await expect
      .poll(async () => ({
        listed: await opened.runtime.list(soon()),
        folders: readdirSync(join(opened.dataDir, 'sandboxes')),
        rules: await opened.egress.list(soon()),
        containers: docker.docker('ps', '--all', '--quiet', '--filter', 'label=opensandbox.io/instance'),
        volumes: docker.docker('volume', 'ls', '--quiet'),
        interfaces: readdirSync('/sys/class/net').filter((each) =>
          each.startsWith(opened.instance.interfacePrefix),
        ).length,
      }))
      // The gateway's own.
      .toEqual({
        listed: [],
        folders: [],
        rules: [],
        containers: '',
        volumes: '',
        interfaces: expect.any(Number),
      })
    expect(
      readdirSync('/sys/class/net').filter(
        (each) => each.startsWith(opened.instance.interfacePrefix) && /[0-9a-f]{8}$/.test(each),
      ),
    ).toEqual([])
  }

  test('the configured OCI runtime is the one that runs the container', async () => {
    const { sandbox, spec, name } = await make()
    expect(docker.docker('inspect', '--format', '{{.HostConfig.Runtime}}', name).trim()).toBe(OTHER_RUNTIME)
    expect((await runIn(sandbox, spec, 'echo here')).stdout).toBe('here')
  })

  test('S10 S13: the daemon is asked for limits, no swap beyond them, no log and no restart', async () => {
    const { name } = await make({ limits: { nanoCpus: 5e8, memoryBytes: 128 << 20 } })
    const [{ HostConfig: host }] = JSON.parse(docker.docker('inspect', name)) as [{ HostConfig: object }]
    expect(host).toMatchObject({
      NetworkMode: 'none',
      PortBindings: {},
      Privileged: false,
      Memory: 128 << 20,
      CpuQuota: 50_000,
      PidsLimit: 4096,
      LogConfig: { Type: 'none' },
      RestartPolicy: { Name: 'no' },
      SecurityOpt: ['no-new-privileges:true'],
    })
    expect([128 << 20, -1, 0]).toContain((host as { MemorySwap: number }).MemorySwap)
  })

  test('a sandbox whose processes may make namespaces is refused where its root is that of the machine', async () => {
    const refused = opened.runtime.create(specOf({ allowNamespaces: true }), soon())
    await expect(refused).rejects.toMatchObject({
      failure: 'unsupported',
      message: expect.stringContaining('userns-remap'),
    })
    await expectNothing()
  })

  test('a container that is killed from outside is known within a second, with its code', async () => {
    const { spec, name } = await make()
    const told = follow()
    await expect.poll(() => told).toContainEqual({ type: 'returned' })
    docker.docker('kill', name)
    await expect
      .poll(() => endsOf(told))
      .toEqual([
        {
          id: spec.id,
          state: 'exited',
          exitCode: 137,
          message: expect.stringContaining('ended from outside'),
        },
      ])
  })

  test('a container that is paused from outside, and goes on, is known within a second', async () => {
    const { spec, name } = await make()
    const told = follow()
    await expect.poll(() => told).toContainEqual({ type: 'returned' })
    for (const [verb, state] of [
      ['pause', 'paused'],
      ['unpause', 'running'],
    ] as const) {
      told.splice(0)
      docker.docker(verb, name)
      await expect.poll(() => told).toEqual([{ type: 'changed', id: spec.id }])
      expect((await opened.runtime.inspect(spec.id, soon()))?.state).toBe(state)
    }
  })

  test('a container that is removed from outside is known within a second, and what it wrote is kept', async () => {
    const { spec, name } = await make({ entrypoint: ['sh', '-c', 'echo last words; exec sleep 600'] })
    const told = follow()
    await expect.poll(() => told).toContainEqual({ type: 'returned' })
    docker.docker('rm', '--force', name)
    await expect.poll(() => endsOf(told)).toMatchObject([{ id: spec.id, state: 'exited' }])
    expect(await opened.runtime.inspect(spec.id, soon())).toMatchObject({
      state: 'exited',
      message: 'its container was removed from outside',
    })
    expect(String(await opened.runtime.logs(spec.id, { maxBytes: 100 }, soon()))).toBe('last words\n')
    await remove(spec.id)
    await expectNothing()
  })

  test('a container that is started again from outside has no network, and has ended', async () => {
    const { spec, name } = await make()
    docker.docker('kill', name)
    docker.docker('start', name)
    expect(await opened.runtime.inspect(spec.id, soon())).toMatchObject({
      state: 'exited',
      exitCode: 137,
      message: 'its container was started again from outside',
    })
    await remove(spec.id)
    await expectNothing()
  })

  test('out of memory is told as what ended it', async () => {
    const { spec, name } = await make({ limits: { memoryBytes: 64 << 20 } })
    const told = follow()
    const cgroup = readFileSync(
      `/proc/${docker.docker('inspect', '--format', '{{.State.Pid}}', name).trim()}/cgroup`,
      'utf8',
    )
    expect(cgroup).toContain(docker.docker('inspect', '--format', '{{.Id}}', name).trim())
    // All of it goes at once when its first processes are what the kernel chooses.
    const victim = specOf({
      limits: { memoryBytes: 64 << 20 },
      entrypoint: ['python3', '-c', 'x = bytearray(500 << 20)'],
    })
    onTestFinished(() => remove(victim.id))
    await opened.runtime.create(victim, soon()).catch(() => undefined)
    await expect
      .poll(() => endsOf(told).find(({ id }) => id === victim.id))
      .toMatchObject({ exitCode: 137, message: 'killed: out of memory' })
    expect((await opened.runtime.inspect(spec.id, soon()))?.state).toBe('running')
  })

  test("S5: a stranger's container with our name, or our labels, is neither listed nor touched", async () => {
    const { spec, name } = await make()
    const labels = JSON.parse(
      docker.docker('inspect', '--format', '{{json .Config.Labels}}', name),
    ) as Record<string, string>
    const flags = Object.entries(labels).flatMap(([key, value]) => ['--label', `${key}=${value}`])
    const image = docker.docker('inspect', '--format', '{{.Image}}', name).trim()
    const forged = specOf()
    const strangers = [
      ['--name', 'stranger', ...flags],
      ['--name', `opensandbox-${opened.instance.key}-${forged.id}`, ...flags],
      [
        '--name',
        `opensandbox-${opened.instance.key}-other`,
        '--label',
        `opensandbox.io/instance=${opened.instance.key}`,
      ],
    ].map((given) => docker.docker('create', '--network', 'none', ...given, image, '/bin/true').trim())
    onTestFinished(() => void docker.docker('rm', '--force', ...strangers))
    expect((await opened.runtime.list(soon())).map(({ id }) => id)).toEqual([spec.id])
    expect(await opened.runtime.inspect(forged.id, soon())).toBeUndefined()
    await remove(forged.id)
    await remove('other')
    // The name is taken, and what has it is left alone.
    await expect(opened.runtime.create(forged, soon())).rejects.toMatchObject({ failure: 'start_failed' })
    for (const id of strangers) expect(docker.docker('inspect', '--format', '{{.Id}}', id).trim()).toBe(id)
    expect(existsSync(join(opened.dataDir, 'sandboxes', forged.id))).toBe(false)
  })

  test('while the daemon is away everything says so, and afterwards works again by itself', async () => {
    const { spec, sandbox } = await make()
    const told = follow()
    await expect.poll(() => told.length).toBe(1)
    await docker.kill('SIGKILL')
    const away = { failure: 'unavailable' }
    await expect(opened.runtime.list(soon())).rejects.toMatchObject(away)
    await expect(opened.runtime.inspect(spec.id, soon())).rejects.toMatchObject(away)
    await expect(opened.runtime.inspect('no-such', soon())).rejects.toMatchObject(away)
    await expect(opened.runtime.create(specOf(), soon())).rejects.toMatchObject(away)
    await expect(opened.runtime.pause(spec.id, soon())).rejects.toMatchObject(away)
    await expect(remove(spec.id)).rejects.toMatchObject(away)
    // Sandboxes do not need it.
    expect((await runIn(sandbox, spec, 'echo alive')).stdout).toBe('alive')
    await docker.start()
    await expect.poll(() => told.filter(({ type }) => type === 'returned').length).toBe(2)
    // The daemon ends what ran when it comes back.
    await expect.poll(async () => (await opened.runtime.inspect(spec.id, soon()))?.state).toBe('exited')
    const next = await make()
    expect((await runIn(next.sandbox, next.spec, 'echo new')).stdout).toBe('new')
  })

  test('L11 D8: a daemon that is killed at any moment of a create leaves nothing that is not found', {
    timeout: 120_000,
  }, async () => {
    for (const ms of [2, 25, 60, 110, 170, 240, 330]) {
      const spec = specOf()
      const making = opened.runtime.create(spec, soon()).then(
        () => 'made',
        (error: unknown) => error,
      )
      await pause(ms, soon())
      await docker.kill('SIGKILL')
      await making
      await docker.start()
      const listed = await opened.runtime.list(soon())
      expect(listed.filter(({ id }) => id !== spec.id)).toEqual([])
      await Promise.all(listed.map(({ id }) => remove(id)))
      await expectNothing()
    }
  })

  test('a daemon that is killed at any moment of a removal leaves nothing that a second one does not clear', {
    timeout: 120_000,
  }, async () => {
    for (const ms of [0, 15, 50, 120]) {
      const { spec } = await make()
      const removing = remove(spec.id).then(
        () => 'removed',
        (error: unknown) => error,
      )
      await pause(ms, soon())
      await docker.kill('SIGKILL')
      await removing
      await docker.start()
      await remove(spec.id)
      await expectNothing()
    }
  })

  test('D10: after a daemon that was killed in a snapshot, what clients see is right within five seconds', async () => {
    const control = createControlApp({ otherRuntime: opened.runtime })
    onTestFinished(() => control.close())
    const loops = control.runLoops()
    const make = { ...MINIMAL, image: { uri: 'host' } }
    const source = String((await control.call('POST', '/v1/sandboxes', make)).body.id)
    const row = control.store.get(source)
    if (!row?.address) throw new Error('It has no address')
    const large = 'head -c 48M /dev/urandom > /workspace/large'
    await runIn({ address: row.address }, specOf({ execdToken: row.execdToken }), large)
    const taken = await control.call('POST', `/v1/sandboxes/${source}/snapshots`)
    await pause(60, soon())
    await docker.kill('SIGKILL')
    const read = async () => (await control.call('GET', `/v1/snapshots/${taken.body.id}`)).body.status
    await expect.poll(read).toMatchObject({
      state: 'Failed',
      message: expect.stringContaining('Docker daemon'),
    })
    // Asked for while it is away, done once it is back.
    await control.call('DELETE', `/v1/sandboxes/${source}`)
    await docker.start()
    await expect
      .poll(async () => ({
        sandbox: (await control.call('GET', `/v1/sandboxes/${source}`)).status,
        listed: await opened.runtime.list(soon()),
        images: docker.docker('images', '--quiet', 'opensandbox-snapshots'),
        state: ((await read()) as { state: string }).state,
      }))
      .toEqual({ sandbox: 404, listed: [], images: '', state: 'Failed' })
    await control.close()
    await loops
  })

  test('what the machine has at the end is what it had', async () => {
    await expectNothing()
    const mounts = execFileSync('cat', ['/proc/self/mountinfo'], { encoding: 'utf8' })
    expect(mounts).not.toContain(opened.dataDir)
  })
})

describe.skipIf(reason !== undefined)('on a Docker daemon with live-restore', () => {
  let opened: OpenedRuntime
  beforeAll(async () => {
    opened = await openTestRuntime('docker', { daemonConfig: { 'live-restore': true } })
  })
  afterAll(() => opened?.dispose())

  const snapshotsOf = () => {
    const { snapshots } = opened.runtime
    if (!snapshots) throw new Error('Docker has snapshots')
    return snapshots
  }
  const inDaemon = (...args: string[]) => String(opened.docker?.docker(...args)).trim()
  const nameless = () =>
    inDaemon('images', '--quiet', '--no-trunc', '--filter', 'dangling=true')
      .split('\n')
      .filter(Boolean)
      .sort()
  const imagesLeft = () => ({
    named: inDaemon('images', '--quiet', 'opensandbox-snapshots'),
    nameless: nameless(),
  })

  test('sandboxes go on while the daemon is restarted, and are known again', async () => {
    const specs = [specOf(), specOf()]
    const [running, frozen] = await Promise.all(specs.map((spec) => opened.runtime.create(spec, soon())))
    const [first, second] = specs
    if (!running || !frozen || !first || !second) throw new Error('Two were asked for')
    await opened.runtime.pause(second.id, soon())
    await opened.docker?.kill('SIGTERM')
    expect((await runIn(running, first, 'echo alive')).stdout).toBe('alive')
    await opened.docker?.start()
    expect(await opened.runtime.inspect(first.id, soon())).toEqual(running)
    expect(await opened.runtime.inspect(second.id, soon())).toEqual({ ...frozen, state: 'paused' })
    await opened.runtime.resume(second.id, soon())
    expect((await runIn(frozen, second, 'echo awake')).stdout).toBe('awake')
  })

  test('D10 L5: a daemon that is killed at any moment of a snapshot leaves it whole or gone, and its sandbox going on', {
    timeout: 120_000,
  }, async () => {
    const spec = specOf()
    const source = await opened.runtime.create(spec, soon())
    await runIn(source, spec, 'head -c 48M /dev/urandom > /workspace/large')
    const outcomes = new Set<string>()
    for (const ms of [0, 15, 40, 80, 140, 220, 320, 450, 700]) {
      const id = createSnapshotId({ hidden: false })
      const taking = snapshotsOf()
        .create(spec.id, id, soon())
        .then(
          () => 'taken',
          (error: { failure?: string }) => error.failure ?? String(error),
        )
      await pause(ms, soon())
      await opened.docker?.kill('SIGKILL')
      const outcome = await taking
      outcomes.add(outcome)
      expect(['taken', 'unavailable']).toContain(outcome)
      // Whoever looks sees that it runs, though the daemon may have died with it standing still.
      await opened.docker?.start()
      expect((await opened.runtime.inspect(spec.id, soon()))?.state).toBe('running')
      const listed = (await snapshotsOf().list(soon())).map((each) => each.id)
      if (outcome === 'taken') expect(listed).toEqual([id])
      expect((await runIn(source, spec, 'echo alive')).stdout).toBe('alive')
      await snapshotsOf().remove(id, soon())
      expect(await snapshotsOf().list(soon())).toEqual([])
      expect(imagesLeft()).toEqual({ named: '', nameless: [] })
    }
    expect(outcomes).toContain('unavailable')
  })

  test('L5: a sandbox that a snapshot holds no more is paused when somebody asks, and stays so', async () => {
    const spec = specOf()
    const sandbox = await opened.runtime.create(spec, soon())
    const mark = join(opened.dataDir, 'sandboxes', spec.id, 'held')
    inDaemon('pause', `opensandbox-${opened.instance.key}-${spec.id}`)
    writeFileSync(mark, '')
    expect((await opened.runtime.inspect(spec.id, soon()))?.state).toBe('running')
    await opened.runtime.pause(spec.id, soon())
    await snapshotsOf().list(soon())
    expect((await opened.runtime.inspect(spec.id, soon()))?.state).toBe('paused')
    expect(existsSync(mark)).toBe(false)
    await opened.runtime.resume(spec.id, soon())
    expect((await runIn(sandbox, spec, 'echo awake')).stdout).toBe('awake')
  })

  test('D10: an image of a snapshot that has no name yet is removed, and one that only says so is not', async () => {
    const spec = specOf()
    await opened.runtime.create(spec, soon())
    const id = createSnapshotId({ hidden: false })
    await snapshotsOf().create(spec.id, id, soon())
    const name = `opensandbox-snapshots:${id}`
    const image = inDaemon('inspect', '--format', '{{.Id}}', name)
    const container = `opensandbox-${opened.instance.key}-${spec.id}`
    const forged = inDaemon('commit', '--change', `LABEL opensandbox.io/snapshot=${id}`, container)
    onTestFinished(() => void inDaemon('rmi', forged))
    // The name goes to another one: the image is as a daemon leaves it that was killed before it has given it its name.
    inDaemon('commit', container, name)
    expect(nameless()).toEqual([image, forged].sort())
    await snapshotsOf().list(soon())
    expect(nameless()).toEqual([forged])
    await snapshotsOf().remove(id, soon())
  })
})

describe.skipIf(reason !== undefined)('on a Docker daemon whose disk is full', () => {
  test('a snapshot and an image say so and leave nothing, sandboxes go on, and all works once there is room', {
    timeout: 120_000,
  }, async () => {
    const small = await startDocker({ diskBytes: 900 << 20 })
    onTestFinished(() => small.dispose())
    const opened = await openTestRuntime('docker', { docker: small })
    onTestFinished(() => opened.dispose())
    const { snapshots } = opened.runtime
    if (!snapshots) throw new Error('Docker has snapshots')
    const spec = specOf()
    const source = await opened.runtime.create(spec, soon())
    await runIn(source, spec, 'head -c 32M /dev/urandom > /workspace/large')
    const filler = join(small.dataRoot, 'filler')
    const fill = (leftBytes: number) => {
      const { bavail, bsize } = statfsSync(small.dataRoot)
      execFileSync('fallocate', ['--length', String(bavail * bsize - leftBytes), filler])
    }
    const images = () => small.docker('images', '--all', '--quiet', '--no-trunc').split('\n').sort()

    const before = images()
    const id = createSnapshotId({ hidden: false })
    fill(8 << 20)
    await expect(snapshots.create(spec.id, id, soon())).rejects.toMatchObject({
      failure: 'no_space',
      message: 'Cannot take the snapshot: no space left on the disk',
    })
    expect(await snapshots.list(soon())).toEqual([])
    expect(images()).toEqual(before)
    expect((await runIn(source, spec, 'echo alive')).stdout).toBe('alive')
    rmSync(filler)
    expect(await snapshots.create(spec.id, id, soon())).toMatchObject({ id })

    const one = images()
    fill(64 << 20)
    const large = specOf({ image: { uri: DEBIAN } })
    const refused = opened.runtime.create(large, AbortSignal.timeout(60_000))
    await expect(refused).rejects.toMatchObject({
      failure: 'no_space',
      message: expect.stringContaining('no space left on the disk'),
    })
    expect(images()).toEqual(one)
    expect((await opened.runtime.list(soon())).map((each) => each.id)).toEqual([spec.id])
    expect((await runIn(source, spec, 'echo alive')).stdout).toBe('alive')
    rmSync(filler)
    await opened.runtime.create(large, AbortSignal.timeout(60_000))
  })
})

describe.skipIf(reason !== undefined)('on a Docker daemon that maps users', () => {
  test('root of a sandbox is nobody outside, and isolated sessions are possible', async () => {
    const opened = await openTestRuntime('docker', { mapsUsers: true })
    onTestFinished(() => opened.dispose())
    expect(opened.runtime.rootOwner).toEqual({ uid: MAPPED_ID, gid: MAPPED_ID })
    const spec = specOf({ allowNamespaces: true })
    const sandbox = await opened.runtime.create(spec, soon())
    expect((await runIn(sandbox, spec, 'id -u; cat /proc/self/uid_map')).stdout).toMatch(
      new RegExp(`^0\\n\\s+0\\s+${MAPPED_ID}\\s+65536$`),
    )
    expect((await runIn(sandbox, spec, 'touch /workspace/x && stat -c %u /workspace/x')).stdout).toBe('0')
    const inside = 'mount -t tmpfs x /mnt && echo mounted'
    const isolated = `unshare --user --map-root-user --mount --pid --fork --mount-proc sh -c '${inside}'`
    expect((await runIn(sandbox, spec, isolated)).stdout).toBe('mounted')
    // What is not masked any more belongs to the root of the machine.
    for (const path of ['/proc/sys/kernel/sysrq', '/proc/sysrq-trigger', '/proc/sys/kernel/core_pattern'])
      expect((await runIn(sandbox, spec, `echo 1 > ${path}`)).exitCode, path).not.toBe(0)
  })
})
