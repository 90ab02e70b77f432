// What control may expect of every runtime: the same cases on each, with the real egress and, on Docker, a real daemon. What only one of
// them can show is in files of its own.
//
// Exceptions: the root of a sandbox is nobody outside on the local runtime only; a Docker daemon does that when it maps users. The
// interface's name inside, the image's files and the process tree are the same on both.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { pause } from '../../control/async.ts'
import type { RuntimeEvent, RuntimeSandbox, RuntimeSpec } from '../../control/runtime/runtime.ts'
import { interfaceOf } from '../../control/runtime/sandbox-record.ts'
import { GUEST_DIR } from '../../lib/api/guest.ts'
import { keepsEnds } from '../support/kernel.ts'
import { TEST_MS } from '../support/patience.ts'
import { type OpenedRuntime, openTestRuntime, RUNTIME_NAMES, runIn, specOf, whyNot } from './runtimes.ts'

const soon = () => AbortSignal.timeout(30_000)

describe.each(RUNTIME_NAMES)('the %s runtime', (name) => {
  const reason = whyNot(name)
  if (reason !== undefined) {
    test.skip(`is not tried, as ${reason}`)
    return
  }
  let opened: OpenedRuntime
  let spec: RuntimeSpec
  let sandbox: RuntimeSandbox

  beforeAll(async () => {
    opened = await openTestRuntime(name)
    spec = specOf({ entrypoint: ['sh', '-c', 'echo hello; echo and good day >&2; exec sleep 600'] })
    sandbox = await opened.runtime.create(spec, soon())
  })
  afterAll(() => opened?.dispose())

  const make = async (change: Partial<RuntimeSpec> = {}) => {
    const given = specOf(change)
    const made = await opened.runtime.create(given, soon())
    onTestFinished(() => opened.runtime.remove(given.id, { graceMs: 0 }, soon()))
    return { spec: given, sandbox: made }
  }
  const stateOf = async (id: string) => (await opened.runtime.inspect(id, soon()))?.state
  const remove = (id: string, graceMs = 0) => opened.runtime.remove(id, { graceMs }, soon())

  /** Everything on the machine that could be left of a sandbox. */
  const traces = async (id: string) => ({
    listed: (await opened.runtime.list(soon())).some((each) => each.id === id),
    folder: existsSync(join(opened.dataDir, 'sandboxes', id)),
    interface: existsSync(`/sys/class/net/${interfaceOf(id, opened.instance.interfacePrefix)}`),
    rules: (await opened.egress.list(soon())).some((each) => each.id === id),
    container: opened.docker?.docker('ps', '--all', '--format', '{{.Names}}').includes(id) ?? false,
  })
  const nothing = { listed: false, folder: false, interface: false, rules: false, container: false }

  test('makes a sandbox whose execd answers and whose entrypoint runs', async () => {
    expect(sandbox).toMatchObject({ id: spec.id, state: 'running' })
    expect(await opened.runtime.inspect(spec.id, soon())).toEqual({
      id: spec.id,
      state: 'running',
      address: sandbox.address,
    })
    expect(await opened.runtime.list(soon())).toContainEqual(await opened.runtime.inspect(spec.id, soon()))
    expect((await runIn(sandbox, spec, 'echo $((6 * 7))')).stdout).toBe('42')
    // What the OCI runtime is told is not for the sandbox.
    expect((await runIn(sandbox, spec, 'cat /proc/1/environ /proc/self/environ')).stdout).not.toContain(
      'GOMAXPROCS',
    )
    await expect
      .poll(async () => String(await opened.runtime.logs(spec.id, { maxBytes: 1000 }, soon())))
      .toBe('hello\nand good day\n')
    expect(String(await opened.runtime.logs(spec.id, { maxBytes: 4 }, soon()))).toBe('day\n')
  })

  test('knows nothing of a sandbox that there is not', async () => {
    expect(await opened.runtime.inspect('no-such', soon())).toBeUndefined()
    await remove('no-such')
    await expect(opened.runtime.pause('no-such', soon())).rejects.toMatchObject({ failure: 'not_found' })
    expect(await opened.runtime.logs('no-such', { maxBytes: 10 }, soon())).toBeUndefined()
  })

  test('what a create has left half made is neither paused nor resumed, and says what it is', async () => {
    const id = 'half-made'
    mkdirSync(join(opened.dataDir, 'sandboxes', id))
    onTestFinished(() => remove(id))
    const message = `Sandbox "${id}" is incomplete`
    await expect(opened.runtime.pause(id, soon())).rejects.toMatchObject({ failure: 'not_running', message })
    await expect(opened.runtime.resume(id, soon())).rejects.toMatchObject({ failure: 'not_paused', message })
  })

  test('S2, S11, P9: a sandbox has one network of its own, and no port of it is open on this machine', async () => {
    const names = (await runIn(sandbox, spec, 'ls /sys/class/net')).stdout.split('\n').sort()
    expect(names).toEqual(['eth0', 'lo'])
    const routes = (await runIn(sandbox, spec, 'cat /proc/net/route')).stdout
    expect(routes).toContain('eth0')
    const listening = execFileSync('ss', ['-Hltn'], { encoding: 'utf8' })
    expect(listening).not.toContain(':44772')
  })

  test('P7: execd is not copied into a sandbox, but the same and read-only in all of them', async () => {
    const other = await make()
    const look = `stat -c %d:%i ${GUEST_DIR}; touch ${GUEST_DIR}/mine`
    const [one, two] = await Promise.all([runIn(sandbox, spec, look), runIn(other.sandbox, other.spec, look)])
    expect(one.stdout).toMatch(/^\d+:\d+$/)
    expect(two.stdout).toBe(one.stdout)
    expect([one.exitCode, two.exitCode]).toEqual([1, 1])
  })

  test('many at once are all told to egress first, and one that cannot be leaves nothing', async () => {
    const count = availableParallelism() + 3
    const { register } = opened.egress
    const all = Promise.withResolvers<void>()
    const told: string[] = []
    const watched = vi
      .spyOn(opened.egress, 'register')
      .mockImplementation(async (id, registration, signal) => {
        if (told.push(id) === count) all.resolve()
        await all.promise
        if (id === told[0]) throw new Error('refused')
        await register(id, registration, signal)
      })
    onTestFinished(() => watched.mockRestore())
    const specs = Array.from({ length: count }, () => specOf())
    onTestFinished(async () => void (await Promise.all(specs.map(({ id }) => remove(id)))))
    const ends = await Promise.allSettled(specs.map((each) => opened.runtime.create(each, soon())))
    const failed = specs.filter((_, at) => ends[at]?.status === 'rejected').map(({ id }) => id)
    expect(failed).toEqual([told[0]])
    expect(await traces(failed[0] ?? '')).toEqual(nothing)
  })

  test('L20: processes whose parents are gone are reaped', async () => {
    await runIn(sandbox, spec, 'for i in 1 2 3 4 5; do (sleep 0.1 &) ; done')
    await expect.poll(async () => (await runIn(sandbox, spec, 'ps -eo stat= | grep -c Z')).stdout).toBe('0')
  })

  test('S3: sandboxes reach neither each other nor the ports of this machine', async () => {
    const server = createServer((_request, response) => response.end('secret'))
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', () => resolve()))
    onTestFinished(() => void server.close())
    const { port } = server.address() as { port: number }
    const other = await make()
    const gateway = (await runIn(sandbox, spec, "sed -n 's/nameserver //p' /etc/resolv.conf")).stdout
    expect(gateway).toMatch(/^10\./)
    for (const target of [`${other.sandbox.address}:44772`, `${gateway}:${port}`]) {
      const tried = await runIn(sandbox, spec, `curl -s --max-time 2 http://${target}/`)
      expect(tried, target).toMatchObject({ stdout: '' })
      expect(tried.exitCode, target).not.toBe(0)
    }
  })

  test('S13: root of a sandbox has no right that reaches the kernel, and gets none', async () => {
    const status = (await runIn(sandbox, spec, 'cat /proc/self/status')).stdout
    expect(status).toMatch(/^NoNewPrivs:\s+1$/m)
    expect(status).toMatch(/^Seccomp:\s+2$/m)
    const held = BigInt(`0x${/^CapBnd:\s+(\w+)$/m.exec(status)?.[1]}`)
    // CAP_NET_ADMIN, NET_RAW, SYS_MODULE, SYS_PTRACE, SYS_ADMIN, SYS_TIME, MKNOD, AUDIT_WRITE
    for (const capability of [12, 13, 16, 19, 21, 25, 27, 29])
      expect((held >> BigInt(capability)) & 1n, String(capability)).toBe(0n)
    for (const command of [
      'mount -t tmpfs tmpfs /mnt',
      'mknod /tmp/disk b 8 0',
      'unshare --user true',
      'ip link add dummy0 type dummy',
      'echo 1 > /proc/sys/kernel/sysrq',
      'echo x > /opt/opensandbox/x',
    ])
      expect((await runIn(sandbox, spec, command)).exitCode, command).not.toBe(0)
  })

  test("gives nothing of execd's away to what runs in the sandbox", async () => {
    const { stdout } = await runIn(
      sandbox,
      spec,
      'env; cat /proc/1/environ | tr "\\0" "\\n"; ls /run/opensandbox',
    )
    expect(stdout).not.toContain(spec.execdToken)
    expect(stdout).not.toMatch(/TOKEN|NODE_|boot\.json/)
  })

  test('the policy is in force before the entrypoint sends its first packet', async () => {
    const script =
      'import socket,sys\ntry:\n  socket.create_connection(("192.0.2.1", 80), 0.5)\nexcept OSError as e: print(type(e).__name__)\ntry: socket.getaddrinfo("denied.example", 80)\nexcept OSError as e: print(type(e).__name__, flush=True)\nimport time; time.sleep(600)'
    const { spec: given } = await make({
      entrypoint: ['python3', '-c', script],
      networkPolicy: { defaultAction: 'deny', egress: [] },
    })
    await expect
      .poll(async () => String(await opened.runtime.logs(given.id, { maxBytes: 1000 }, soon())))
      .toMatch(/^(\w+)\ngaierror\n$/)
    expect(await opened.egress.list(soon())).toContainEqual(expect.objectContaining({ id: given.id }))
  })

  test('S10: limits bind, swap with memory, and what takes more memory is ended', async () => {
    const { spec: given, sandbox: made } = await make({ limits: { nanoCpus: 5e8, memoryBytes: 96 << 20 } })
    const greedy = await runIn(made, given, `python3 -c "x = bytearray(300 << 20); print(len(x))"`)
    expect(greedy).toMatchObject({ stdout: '' })
    expect(greedy.exitCode).not.toBe(0)
    expect((await runIn(made, given, 'echo alive')).stdout).toBe('alive')
    const busy =
      'import time; s = time.monotonic(); c = time.process_time()\nwhile time.monotonic() - s < 1: pass\nprint((time.process_time() - c) / (time.monotonic() - s))'
    expect(Number((await runIn(made, given, `python3 -c '${busy}'`)).stdout)).toBeLessThan(0.7)
  })

  test('pauses and resumes, and refuses what is so already', async () => {
    const { spec: given, sandbox: made } = await make()
    await expect(opened.runtime.resume(given.id, soon())).rejects.toMatchObject({ failure: 'not_paused' })
    await opened.runtime.pause(given.id, soon())
    expect(await opened.runtime.inspect(given.id, soon())).toEqual({
      id: given.id,
      state: 'paused',
      address: made.address,
    })
    await expect(opened.runtime.pause(given.id, soon())).rejects.toMatchObject({ failure: 'not_running' })
    await opened.runtime.resume(given.id, soon())
    expect((await runIn(made, given, 'echo awake')).stdout).toBe('awake')
    // A frozen one is ended all the same.
    await opened.runtime.pause(given.id, soon())
    await remove(given.id, 1000)
    expect(await traces(given.id)).toEqual(nothing)
  })

  test('tells of an end within a second, with its code', async () => {
    const stop = new AbortController()
    const ends: Extract<RuntimeEvent, { type: 'exited' }>[] = []
    const following = (async () => {
      for await (const event of opened.runtime.watch(stop.signal))
        if (event.type === 'exited') ends.push(event)
    })()
    const told = (line: string) =>
      make({ entrypoint: ['sh', '-c', `mkfifo /tmp/go; read -r _ < /tmp/go; ${line}`] })
    const given = await Promise.all([
      told('exit 3'),
      told('kill -9 $$'),
      // Its parent is execd, which is away as it ends.
      told('kill -9 $PPID; echo last words; exit 4'),
    ])
    for (const { spec: one, sandbox: made } of given)
      await runIn(made, one, 'until [ -p /tmp/go ]; do sleep 0.01; done; echo > /tmp/go').catch(
        () => undefined,
      )
    await expect
      .poll(async () => (await Promise.all(given.map(({ spec: one }) => stateOf(one.id)))).join())
      .toBe('exited,exited,exited')
    await expect.poll(() => ends.length).toBe(3)
    const codes = new Map(ends.map(({ sandbox: ended }) => [ended.id, ended.exitCode]))
    expect(given.map(({ spec: one }) => codes.get(one.id))).toEqual([3, 137, keepsEnds() ? 4 : 255])
    const logs = given.map(({ spec: one }) => opened.runtime.logs(one.id, { maxBytes: 100 }, soon()))
    expect((await Promise.all(logs)).map(String)).toEqual(['', '', 'last words\n'])
    stop.abort()
    await following
  })

  test('L20: gives the entrypoint time to tidy up, and no more than that', async () => {
    const polite = await make({
      entrypoint: [
        'python3',
        '-c',
        'import signal,sys,time\ndef f(*a): time.sleep(0.4); sys.exit(0)\nsignal.signal(signal.SIGTERM,f)\nprint("armed", flush=True)\nwhile True: signal.pause()',
      ],
    })
    await expect
      .poll(async () => String(await opened.runtime.logs(polite.spec.id, { maxBytes: 100 }, soon())))
      .toContain('armed')
    const startedAt = performance.now()
    // All of this grace is more than the test has.
    await remove(polite.spec.id, 2 * TEST_MS)
    expect(performance.now() - startedAt).toBeGreaterThan(350)
    expect(await traces(polite.spec.id)).toEqual(nothing)
  })

  test('leaves nothing of a removed sandbox, however often it is removed at once', async () => {
    const { spec: given } = await make()
    expect(await traces(given.id)).toMatchObject({ listed: true, folder: true, interface: true, rules: true })
    await remove(given.id)
    await remove(given.id)
    expect(await traces(given.id)).toEqual(nothing)
  })

  test.each<[string, Partial<RuntimeSpec>, string | RegExp]>([
    ['an image that there is not', { image: { uri: 'no-such-image' } }, /image|registry/],
    ['an entrypoint that the image lacks', { entrypoint: ['/no/such/program'] }, 'entrypoint_failed'],
    ['an entrypoint that is no program', { entrypoint: ['/etc'] }, 'entrypoint_failed'],
  ])('refuses %s and leaves nothing', async (_what, change, failure) => {
    const given = specOf(change)
    const refused = await opened.runtime.create(given, soon()).catch((error: unknown) => error)
    expect(refused).toMatchObject({ failure: expect.stringMatching(failure) })
    expect(await traces(given.id)).toEqual(nothing)
  })

  test('S24: what fails by the machine is told without places of it, and leaves nothing', async () => {
    const given = specOf()
    mkdirSync(join(opened.dataDir, 'sandboxes', given.id))
    const refused = await opened.runtime.create(given, soon()).catch((error: unknown) => error)
    expect(refused).toMatchObject({ failure: 'start_failed', message: expect.stringContaining('EEXIST') })
    expect((refused as Error).message).not.toContain(opened.dataDir)
    expect(await traces(given.id)).toEqual(nothing)
  })

  test.each([1, 40, 120, 250])('leaves nothing of a create that is given up after %i ms', async (ms) => {
    const given = specOf()
    const stop = new AbortController()
    const making = opened.runtime.create(given, stop.signal).catch((error: unknown) => error)
    await pause(ms, soon())
    stop.abort(new Error('given up'))
    const result = await making
    // A fast machine may be done by then.
    if (result instanceof Error) expect(result.message).toBe('given up')
    else await remove(given.id)
    expect(await traces(given.id)).toEqual(nothing)
  })

  test('many are made at once, each with an address of its own', async () => {
    const made = await Promise.all(Array.from({ length: 6 }, () => make()))
    expect(new Set(made.map((each) => each.sandbox.address)).size).toBe(6)
    for (const each of made)
      expect((await runIn(each.sandbox, each.spec, 'hostname')).stdout).toBe(each.spec.id)
  })

  test('the image says who runs the entrypoint, where and with what, and the caller stands above it; it knows what it is called', async () => {
    const { spec: given, sandbox: made } = await make({ env: { LANG: 'de_DE.UTF-8', MINE: 'x y' } })
    const { stdout } = await runIn(made, given, 'id -u; pwd; echo $LANG "$MINE" $OPENSANDBOX_ID')
    expect(stdout).toBe(`0\n/workspace\nde_DE.UTF-8 x y ${given.id}`)
  })

  test('finds everything again after a restart, paused ones too', async () => {
    const running = await make()
    const frozen = await make()
    await opened.runtime.pause(frozen.spec.id, soon())
    await opened.reopen()
    expect(await opened.runtime.inspect(frozen.spec.id, soon())).toEqual({
      id: frozen.spec.id,
      state: 'paused',
      address: frozen.sandbox.address,
    })
    await opened.runtime.resume(frozen.spec.id, soon())
    for (const each of [running, frozen])
      expect((await runIn(each.sandbox, each.spec, 'echo still here')).stdout).toBe('still here')
    // Their addresses are not given to others.
    const next = await make()
    expect([running.sandbox.address, frozen.sandbox.address]).not.toContain(next.sandbox.address)
  })

  test('clears what a crash has left of a create', async () => {
    const { spec: given } = await make()
    const folder = join(opened.dataDir, 'sandboxes', given.id)
    const record = JSON.parse(readFileSync(join(folder, 'record.json'), 'utf8')) as { complete: boolean }
    expect(record.complete).toBe(true)
    execFileSync('rm', ['-r', folder])
    expect(await stateOf(given.id)).toBe('incomplete')
    await opened.runtime.remove(given.id, { graceMs: 1000 }, soon())
    expect(await traces(given.id)).toEqual(nothing)
    expect(readdirSync(join(opened.dataDir, 'sandboxes'))).not.toContain(given.id)
  })
})
