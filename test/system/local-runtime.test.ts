// The local runtime of the running product: what a sandbox may not see and do, how it ends, and that nothing of it stays. What every
// runtime keeps to, limits of CPU and memory among it, is in test/contract/runtime.test.ts.

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:http'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import type { Sandbox } from '@alibaba-group/opensandbox'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { instanceOf } from '../../lib/instance.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { createSandbox, run } from '../support/sandbox.ts'
import { waitFor } from '../support/wait-for.ts'

const PIDS_LIMIT = 64
const STOP_GRACE_SECONDS = 2

let edge: Edge
let sandbox: Sandbox

beforeAll(async () => {
  edge = await startEdge({
    config: `[runtime]\npids_limit = ${PIDS_LIMIT}\nstop_grace_seconds = ${STOP_GRACE_SECONDS}\n`,
  })
  sandbox = await createSandbox(edge)
})

afterAll(async () => {
  await sandbox?.close()
  await edge?.dispose()
})

const isV1 = existsSync('/sys/fs/cgroup/memory')

type Raw = { id: string; status: { state: string; reason?: string; message?: string } }

async function createRaw(change: object): Promise<Raw> {
  const response = await fetch(`${edge.url}/v1/sandboxes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      image: { uri: 'host' },
      resourceLimits: { cpu: '1', memory: '256Mi' },
      timeout: 600,
      ...change,
    }),
  })
  expect(response.status, await response.clone().text()).toBe(202)
  return (await response.json()) as Raw
}

const get = async (id: string) => (await (await fetch(`${edge.url}/v1/sandboxes/${id}`)).json()) as Raw
const remove = (id: string) => fetch(`${edge.url}/v1/sandboxes/${id}`, { method: 'DELETE' })

describe('a sandbox is kept from', () => {
  test('mounting, changing its network and making devices, though it is root', async () => {
    expect((await run(sandbox, 'id -u')).stdout).toBe('0')
    for (const command of [
      'mount -t tmpfs tmpfs /mnt',
      'ip link add dummy0 type dummy',
      'ip addr add 10.0.0.1/8 dev eth0',
      'ip route add 192.0.2.0/24 dev eth0',
      'mknod /tmp/disk b 8 0',
      'unshare --user true',
      'unshare --net true',
      'hostname other',
      // A keyring: of those, all sandboxes have 200 together.
      `python3 -c 'import ctypes,sys; sys.exit(ctypes.CDLL(None).syscall(${process.arch === 'x64' ? 250 : 219}, 1, None) < 0)'`,
      'echo 1 > /proc/sys/kernel/sysrq',
      'echo x > /opt/opensandbox/x',
    ])
      expect((await run(sandbox, command)).exitCode, command).not.toBe(0)
  })

  test("the machine's files, but for its /usr, which it cannot change", async () => {
    expect((await run(sandbox, 'cat /etc/shadow')).exitCode).not.toBe(0)
    expect((await run(sandbox, 'ls -A /root /home /var/lib')).stdout).toBe(
      '/home:\nsandbox\n\n/root:\n\n/var/lib:',
    )
    expect((await run(sandbox, 'touch /usr/bin/x')).exitCode).not.toBe(0)
    expect((await run(sandbox, 'ls /var/run/docker.sock /run/docker.sock')).exitCode).not.toBe(0)
  })

  test('other processes of the machine', async () => {
    const pids = (await run(sandbox, 'ls /proc | grep -E "^[0-9]+$" | wc -l')).stdout
    expect(Number(pids)).toBeLessThan(15)
    const namespaces = ['mnt', 'net', 'pid', 'user', 'ipc', 'uts', 'cgroup']
    const inside = (await run(sandbox, namespaces.map((name) => `readlink /proc/self/ns/${name}`).join(';')))
      .stdout
    for (const name of namespaces) expect(inside).not.toContain(readlinkSync(`/proc/self/ns/${name}`))
  })

  test("execd's token and every variable of ours", async () => {
    const environment = (await run(sandbox, 'env; cat /proc/1/environ | tr "\\0" "\\n"; ls /run/opensandbox'))
      .stdout
    // What the sandbox is called, and the command, opens nothing.
    expect(environment).not.toMatch(/TOKEN|NODE_|OPENSANDBOX_(?!(COMMAND_)?ID=)/)
    expect(environment).not.toContain('boot.json')
  })

  test("the machine's ports", async () => {
    const server = createServer((_request, response) => response.end('secret'))
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', () => resolve()))
    onTestFinished(() => void server.close())
    const { port } = server.address() as { port: number }
    const own = Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .filter(({ family }) => family === 'IPv4')
    const gateway = (await run(sandbox, "sed -n 's/nameserver //p' /etc/resolv.conf")).stdout
    for (const address of [gateway, ...own.map((each) => each.address)].filter(
      (each) => !each.startsWith('127.'),
    )) {
      const tried = await run(sandbox, `curl -s --max-time 2 http://${address}:${port}/`)
      expect(tried.stdout, address).toBe('')
      expect(tried.exitCode, address).not.toBe(0)
    }
    const api = await run(sandbox, `curl -s --max-time 2 http://${gateway}:${edge.port}/health`)
    expect(api.exitCode).not.toBe(0)
  })

  test('other sandboxes', async () => {
    const other = await createSandbox(edge)
    onTestFinished(async () => {
      await other.kill()
      await other.close()
    })
    await run(other, 'cd /tmp && echo secret > f && python3 -m http.server 8000 >/dev/null 2>&1 &')
    const address = (await run(other, "ip -4 -o addr show eth0 | sed -E 's/.*inet ([0-9.]+).*/\\1/'")).stdout
    await expect.poll(async () => (await run(other, 'curl -s http://127.0.0.1:8000/f')).stdout).toBe('secret')
    const tried = await run(sandbox, `curl -s --max-time 2 http://${address}:8000/f`)
    expect(tried.stdout).toBe('')
    const execd = await run(sandbox, `curl -s --max-time 2 http://${address}:44772/ping`)
    expect(execd.exitCode).not.toBe(0)
  })
})

test('a fork bomb ends at the limit of processes, and the sandbox goes on', async () => {
  const bombed = await createSandbox(edge)
  onTestFinished(async () => {
    await bombed.kill()
    await bombed.close()
  })
  const script =
    'import os,time\nn=0\ntry:\n  while n < 500:\n    if os.fork() == 0: time.sleep(2); os._exit(0)\n    n += 1\nexcept OSError: print(n)'
  const made = Number((await run(bombed, `python3 -c '${script}'`)).stdout)
  expect(made).toBeGreaterThan(10)
  expect(made).toBeLessThan(PIDS_LIMIT)
  expect((await run(bombed, 'echo alive')).stdout).toBe('alive')
})

test('a paused sandbox gives back the memory of files, says what it keeps, and goes on with all of it', async () => {
  const { id } = await createRaw({
    entrypoint: ['sh', '-c', 'head -c 100M /dev/zero > /var/big; sync /var/big; exec sleep 600'],
  })
  onTestFinished(() => void remove(id))
  const parent = join(
    '/sys/fs/cgroup',
    isV1 ? 'memory' : '',
    `opensandbox-${instanceOf(edge.dataDir).key}`,
    id,
  )
  const used = () =>
    Number(readFileSync(join(parent, isV1 ? 'memory.usage_in_bytes' : 'memory.current'), 'utf8')) / 2 ** 20
  await waitFor(() => expect(used()).toBeGreaterThan(100), { interval: 50 })
  // Only what is on the disk can be given back.
  const unwritten = () =>
    [
      ...readFileSync(join(parent, 'memory.stat'), 'utf8').matchAll(
        /^(?:total|file)_(?:dirty|writeback) (\d+)$/gm,
      ),
    ].reduce((sum, [, bytes]) => sum + Number(bytes), 0)
  await waitFor(() => expect(unwritten()).toBeLessThan(20 << 20), { interval: 50 })
  const change = async (what: string) =>
    expect((await fetch(`${edge.url}/v1/sandboxes/${id}/${what}`, { method: 'POST' })).status).toBe(202)
  await change('pause')
  await waitFor(async () => expect((await get(id)).status.state).toBe('Paused'))
  const { status } = await get(id)
  expect(used()).toBeLessThan(50)
  expect(Number(/^It keeps its files and (\d+) MiB of memory$/.exec(status.message ?? '')?.[1])).toBeLessThan(
    50,
  )
  await change('resume')
  await waitFor(async () => expect((await get(id)).status.state).toBe('Running'))
  expect((await get(id)).status.message ?? '').not.toContain('It keeps')
})

describe('a sandbox ends', () => {
  test.each([
    [['true'], 'Terminated'],
    [['sh', '-c', 'exit 3'], 'Failed'],
    [['sh', '-c', 'kill -9 $$'], 'Failed'],
  ])('as its entrypoint does: %j is %s', async (entrypoint, state) => {
    const { id } = await createRaw({ entrypoint })
    await expect.poll(async () => (await get(id)).status.state).toBe(state)
    expect((await remove(id)).status).toBe(204)
  })

  test('with TERM first, so that its entrypoint can tidy up', async () => {
    const script =
      'import signal,sys,time\ndef f(*a):\n  open("/tmp/tidy","w").write("done"); time.sleep(0.3); sys.exit(0)\nsignal.signal(signal.SIGTERM,f)\nopen("/tmp/armed","w")\nsignal.pause()'
    const polite = await createSandbox(edge, { entrypoint: ['python3', '-c', script] })
    await expect.poll(async () => (await run(polite, 'ls /tmp')).stdout).toContain('armed')
    const startedAt = performance.now()
    await polite.kill()
    // It was waited for, and not for all of the grace.
    expect(performance.now() - startedAt).toBeGreaterThan(250)
    expect(performance.now() - startedAt).toBeLessThan(8000)
    await polite.close()
  })

  test('with KILL after the grace, when it does not listen', async () => {
    const deaf = await createSandbox(edge, {
      entrypoint: ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'],
    })
    const startedAt = performance.now()
    await deaf.kill()
    expect(performance.now() - startedAt).toBeGreaterThan(STOP_GRACE_SECONDS * 1000 - 100)
    expect(performance.now() - startedAt).toBeLessThan(10_000)
    await deaf.close()
  })

  test('and nothing of it is left: no mount, interface, rule, cgroup, process or directory', async () => {
    const { interfacePrefix, key, runDir } = instanceOf(edge.dataDir)
    /** Of the sandboxes that come and go here: the machine has others. */
    const networks: string[] = []
    const traces = () => {
      const cgroups = execFileSync(
        'find',
        ['/sys/fs/cgroup', '-type', 'd', '-path', `*opensandbox-${key}/*`],
        { encoding: 'utf8' },
      )
      return {
        directories: readdirSync(join(edge.dataDir, 'sandboxes')).sort(),
        roots: readdirSync(join(runDir, 'roots')).sort(),
        runtime: readdirSync(join(runDir, 'runc')).sort(),
        mounts: readFileSync('/proc/self/mountinfo', 'utf8')
          .split('\n')
          .filter((line) => line.includes(runDir)).length,
        interfaces: execFileSync('ip', ['-o', 'link'], { encoding: 'utf8' }).match(
          new RegExp(`${interfacePrefix}[0-9a-z]{8}`, 'g'),
        )?.length,
        rules: execFileSync('nft', ['list', 'table', 'inet', `opensandbox_${key}`], {
          encoding: 'utf8',
        }).match(new RegExp(`${interfacePrefix}[0-9a-z]{8}`, 'g'))?.length,
        cgroups: cgroups.split('\n').length,
        namespaces: execFileSync('lsns', ['--noheadings', '--output', 'NS', '--type', 'net'], {
          encoding: 'utf8',
        })
          .split('\n')
          .filter((line) => networks.includes(line.trim())).length,
      }
    }
    const before = traces()
    const made = await Promise.all([1, 2, 3].map(() => createRaw({ entrypoint: ['sleep', '600'] })))
    for (const { id } of made) {
      const record = readFileSync(join(edge.dataDir, 'sandboxes', id, 'record.json'), 'utf8')
      const { init } = JSON.parse(record) as { init: { pid: number } }
      networks.push(/\d+/.exec(readlinkSync(`/proc/${init.pid}/ns/net`))?.[0] ?? '')
    }
    expect(traces()).toMatchObject({
      directories: { length: before.directories.length + 3 },
      namespaces: 3,
    })
    await Promise.all(made.map(({ id }) => remove(id)))
    await expect.poll(traces).toEqual(before)
  })

  test('also when it has nested directories beyond the length of a path', async () => {
    const deep = await createSandbox(edge)
    const { stdout } = await run(
      deep,
      'name=$(printf %0200d 0); for i in $(seq 30); do mkdir $name && cd $name; done; pwd -P | wc -c',
    )
    expect(Number(stdout)).toBeGreaterThan(4096)
    await deep.kill()
    expect(readdirSync(join(edge.dataDir, 'sandboxes'))).not.toContain(deep.id)
    await deep.close()
  })
})
