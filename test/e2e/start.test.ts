// What `npm start` promises to the person who types it.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { instanceOf } from '../../lib/instance.ts'
import { type Edge, freePort, isAlive, spawnLauncher, spawnOnTerminal, startEdge } from '../support/edge.ts'

const ROOT = join(import.meta.dirname, '../..')
const CREATE = {
  image: { uri: 'host' },
  entrypoint: ['sleep', '600'],
  resourceLimits: { cpu: '500m', memory: '256Mi' },
  timeout: 600,
}

let edges: Edge[] = []
afterEach(async () => {
  for (const edge of edges) await edge.dispose()
  edges = []
})

async function start(options: Parameters<typeof startEdge>[0] = {}): Promise<Edge> {
  const edge = await startEdge(options)
  edges.push(edge)
  return edge
}

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'start-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function create(edge: Pick<Edge, 'url'>): Promise<{ id: string }> {
  const response = await fetch(`${edge.url}/v1/sandboxes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(CREATE),
  })
  expect(response.status, await response.clone().text()).toBe(202)
  return (await response.json()) as { id: string }
}

/** Process ids of the launcher's children by program name. */
function childrenOf(edge: Edge): Map<string, number> {
  const out = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(edge.launcherPid)], {
    encoding: 'utf8',
  })
  const found = new Map<string, number>()
  for (const line of out.trim().split('\n')) {
    const match = /^\s*(\d+) .*\/(control|gateway|egress)\/main\.ts/.exec(line)
    if (match) found.set(match[2] ?? '', Number(match[1]))
  }
  return found
}

const CGROUPS = '/sys/fs/cgroup'

/** What of an installation can be seen on the machine: interfaces, nft tables, mounts, cgroups, the run directory. */
function tracesOf(dataDir: string): string[] {
  const { key, interfacePrefix, runDir } = instanceOf(dataDir)
  const links = execFileSync('ip', ['-o', 'link'], { encoding: 'utf8' }).split('\n')
  const tables = execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' }).split('\n')
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return [
    ...links.filter((line) => line.includes(interfacePrefix)),
    ...tables.filter((line) => line.includes(`opensandbox_${key}`)),
    ...mounts.filter((line) => line.includes(dataDir)),
    ...(existsSync(runDir) ? [runDir] : []),
    ...readdirSync(CGROUPS).flatMap((name) => {
      const paths = [join(CGROUPS, name, `opensandbox-${key}`)]
      if (name === `opensandbox-${key}`) paths.push(join(CGROUPS, name))
      return paths.filter((path) => existsSync(path))
    }),
  ]
}

describe('npm start', () => {
  test('prints the API address, where the state lies, and a first command that works when pasted', async () => {
    const edge = await start()
    expect(edge.output()).toContain(`API        http://127.0.0.1:${edge.port}`)
    expect(edge.output()).toContain(`State      ${edge.dataDir}`)
    const command = /A first sandbox:\n\n([\s\S]+?)\n\nStop with/.exec(edge.output())?.[1] ?? ''
    const answer = JSON.parse(execFileSync('bash', ['-c', command], { encoding: 'utf8' })) as {
      id: string
      status: object
    }
    expect(answer.id).toMatch(/^[0-9a-f-]{36}$/)
    expect(answer.status).toMatchObject({ state: 'Running' })
  })

  test('shows its flags with --help', () => {
    const help = execFileSync(process.execPath, [join(ROOT, 'launcher/start.mjs'), '--help'], {
      encoding: 'utf8',
    })
    for (const flag of [
      '--config',
      '--host',
      '--port',
      '--data-dir',
      '--runtime',
      '--stop-sandboxes',
      '--no-install',
    ]) {
      expect(help).toContain(flag)
    }
  })

  test('leaves sandboxes running when it stops and finds them again', async () => {
    const edge = await start()
    const { id } = await create(edge)
    expect(await edge.stop()).toBe(0)
    const again = await startEdge({ dataDir: edge.dataDir, port: edge.port })
    edges = [again]
    const found = (await (await fetch(`${again.url}/v1/sandboxes/${id}`)).json()) as {
      status: { state: string }
    }
    expect(found.status.state).toBe('Running')
    const endpoint = (await (await fetch(`${again.url}/v1/sandboxes/${id}/endpoints/44772`)).json()) as {
      endpoint: string
      headers: Record<string, string>
    }
    const ping = await fetch(`http://${endpoint.endpoint}/ping`, { headers: endpoint.headers })
    expect(ping.status).toBe(200)
  })

  // npm and launcher/start.mjs pass on what the terminal has sent already: one press arrives more than once.
  test('ends all sandboxes with --stop-sandboxes and leaves nothing on the machine when a terminal sends SIGINT to all', async () => {
    const edge = await startEdge({ args: ['--stop-sandboxes'] })
    onTestFinished(() => rmSync(edge.dataDir, { recursive: true, force: true }))
    await create(edge)
    await create(edge)
    expect(tracesOf(edge.dataDir)).not.toEqual([])
    // One that is killed leaves its socket.
    const gateway = childrenOf(edge).get('gateway') ?? 0
    expect(gateway).toBeGreaterThan(0)
    process.kill(gateway, 'SIGKILL')
    await edge.waitForOutput(/program is back program=gateway/, 30_000)
    const stopped = edge.stop('SIGINT')
    process.kill(edge.launcherPid, 'SIGINT')
    expect(await stopped).toBe(0)
    expect(tracesOf(edge.dataDir)).toEqual([])
  })

  test('does the same when the terminal that it was started on is closed', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'edge-'))
    onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }))
    const port = await freePort()
    const terminal = spawnOnTerminal({ dataDir, port }, ['--stop-sandboxes'])
    await terminal.waitFor(/Stop with Ctrl-C/)
    await create({ url: `http://127.0.0.1:${port}` })
    expect(tracesOf(dataDir)).not.toEqual([])
    terminal.close()
    await expect.poll(() => isAlive(terminal.pid), { timeout: 60_000 }).toBe(false)
    expect(tracesOf(dataDir)).toEqual([])
  }, 120_000)

  test.each(['control', 'gateway', 'egress'])(
    'notices that %s died, says so, and starts it again',
    async (name) => {
      const edge = await start()
      const { id } = await create(edge)
      const pid = childrenOf(edge).get(name) ?? 0
      expect(pid).toBeGreaterThan(0)
      process.kill(pid, 'SIGKILL')
      await edge.waitForOutput(new RegExp(`program is back program=${name}`), 30_000)
      expect(isAlive(pid)).toBe(false)
      const found = await fetch(`${edge.url}/v1/sandboxes/${id}`)
      expect(found.status).toBe(200)
      await create(edge)
    },
  )

  test('stops its programs when it is killed itself', async () => {
    const edge = await start()
    const pids = [...childrenOf(edge).values()]
    expect(pids).toHaveLength(3)
    process.kill(edge.launcherPid, 'SIGKILL')
    await expect.poll(() => pids.filter(isAlive)).toEqual([])
  })
})

describe('npm start refuses in one clear sentence', () => {
  const refusal = async (options: Parameters<typeof spawnLauncher>[0]) => {
    const launcher = spawnLauncher(options)
    const code = await launcher.ended
    return { code, lines: launcher.output().trim().split('\n') }
  }

  test('a port that is in use', async () => {
    const server = createServer()
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => {
        const address = server.address()
        resolve(typeof address === 'object' && address ? address.port : 0)
      })
    })
    onTestFinished(() => void server.close())
    const { code, lines } = await refusal({ dataDir: scratch(), port })
    expect(code).toBe(1)
    expect(lines).toEqual([
      `Port ${port} on 127.0.0.1 is in use: stop what uses it, or choose another with --port`,
    ])
  })

  test('a second start on the same data directory', async () => {
    const edge = await start()
    const { code, lines } = await refusal({ dataDir: edge.dataDir, port: await freePort() })
    expect(code).toBe(1)
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain(`Already running with the data directory "${edge.dataDir}"`)
    expect((await fetch(`${edge.url}/health`)).status).toBe(200)
  })

  test('a host that is not loopback, without an API key', async () => {
    const { code, lines } = await refusal({
      dataDir: scratch(),
      port: await freePort(),
      args: ['--host', '0.0.0.0'],
    })
    expect(code).toBe(1)
    expect(lines[0]).toContain('without an API key')
  })

  test('an unknown key in the configuration, with its line', async () => {
    const { code, lines } = await refusal({
      dataDir: scratch(),
      port: await freePort(),
      config: '[server]\nprot = 1\n',
    })
    expect(code).toBe(1)
    expect(lines[0]).toMatch(/edge\.toml:2: unknown key "server\.prot"/)
  })

  test('a configuration that cannot be read', async () => {
    const { code, lines } = await refusal({
      dataDir: scratch(),
      port: await freePort(),
      args: ['--config', '/etc'],
    })
    expect(code).toBe(1)
    expect(lines).toEqual([expect.stringMatching(/^Cannot read the configuration "\/etc": EISDIR/)])
  })

  test('a runtime that is not there yet', async () => {
    const dataDir = scratch()
    const { code, lines } = await refusal({
      dataDir,
      port: await freePort(),
      args: ['--runtime', 'kubernetes'],
    })
    expect(code).toBe(1)
    expect(lines.join('\n')).toMatch(/kubernetes/)
    expect(tracesOf(dataDir)).toEqual([])
  })

  test('an OCI runtime that is not installed', async () => {
    const dataDir = scratch()
    const config = '[runtime]\noci_runtime = "no-such-runtime"\n'
    const { code, lines } = await refusal({ dataDir, port: await freePort(), config })
    expect(code).toBe(1)
    expect(lines.join('\n')).toContain('no-such-runtime')
    expect(tracesOf(dataDir)).toEqual([])
  })

  test('a user who is not root', () => {
    // The project may lie where another user cannot read it, so the module is loaded before the user changes.
    const module = JSON.stringify(join(ROOT, 'launcher/install.mjs'))
    const script = `const { ensureMachine } = await import(${module}); process.setuid(65534); process.exit((await ensureMachine({ install: false, purpose: 'start' })) ? 0 : 3)`
    let output = ''
    let status = 0
    try {
      execFileSync(process.execPath, ['--input-type=module', '-e', script], {
        encoding: 'utf8',
        stdio: 'pipe',
      })
    } catch (error) {
      const failed = error as { status: number; stderr: string }
      status = failed.status
      output = failed.stderr
    }
    expect(status).toBe(3)
    expect(output.trim().split('\n')).toHaveLength(1)
    expect(output).toContain('Root is needed')
  })
})
