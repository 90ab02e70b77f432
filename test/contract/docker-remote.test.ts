// A daemon of this machine that is reached by TLS or by SSH is as good as one behind a socket; one that is elsewhere is refused.

import { readdirSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { openEngine } from '../../control/runtime/docker/engine.ts'
import { followEvents } from '../../control/runtime/docker/events.ts'
import type { RuntimeEvent } from '../../control/runtime/runtime.ts'
import { createLogger } from '../../lib/log.ts'
import { startDocker, type TestDocker } from '../support/docker.ts'
import { type DockerCertificates, makeDockerCertificates } from '../support/docker-certificates.ts'
import { freePort, startEdge } from '../support/edge.ts'
import { createSandbox, run } from '../support/sandbox.ts'
import { startSshServer, type TestSshServer } from '../support/ssh-server.ts'
import { type OpenedRuntime, openTestRuntime, runIn, specOf, whyNot } from './runtimes.ts'

// Each opens a runtime with an egress of its own, which takes long on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const soon = () => AbortSignal.timeout(30_000)
const silent = createLogger({ program: 'control', write: () => {} })
const reason = whyNot('docker')
const DENY = { defaultAction: 'deny', egress: [] } as const

describe.skipIf(reason !== undefined)(
  `a Docker daemon behind TCP or SSH${reason ? `, not tried, as ${reason}` : ''}`,
  () => {
    let certificates: DockerCertificates
    let docker: TestDocker
    let ssh: TestSshServer
    let port: number
    let byTls: string
    let bySsh: string

    beforeAll(async () => {
      certificates = makeDockerCertificates()
      port = await freePort()
      const args = ['--host', `tcp://127.0.0.1:${port}`, ...certificates.serverArgs]
      docker = await startDocker({ args })
      ssh = await startSshServer()
      byTls = `host = "tcp://127.0.0.1:${port}"\ntls_verify = true\ncert_path = "${certificates.client}"`
      bySsh = `host = "ssh://root@127.0.0.1:${ssh.port}${docker.socketPath}"\nssh_config = "${ssh.config}"`
    })
    afterAll(async () => {
      await ssh?.dispose()
      await docker?.dispose()
      certificates?.dispose()
    })

    const open = async (dockerConfig: string, daemon = docker) => {
      const opened = await openTestRuntime('docker', { docker: daemon, dockerConfig })
      onTestFinished(() => opened.dispose())
      return opened
    }
    const make = async ({ runtime }: OpenedRuntime) => {
      const spec = specOf({ networkPolicy: { ...DENY, egress: [] } })
      return { spec, sandbox: await runtime.create(spec, soon()) }
    }
    const follow = ({ runtime }: OpenedRuntime) => {
      const told: RuntimeEvent['type'][] = []
      const stop = new AbortController()
      const following = (async () => {
        for await (const { type } of runtime.watch(stop.signal)) told.push(type)
      })()
      onTestFinished(async () => {
        stop.abort()
        await following
      })
      return told
    }

    test('by TLS with a certificate: a sandbox is made, held to its policy, and known to have ended', async () => {
      const opened = await open(byTls)
      const told = follow(opened)
      await expect.poll(() => told).toEqual(['returned'])
      const { spec, sandbox } = await make(opened)
      expect((await runIn(sandbox, spec, 'echo here')).stdout).toBe('here')
      expect((await opened.egress.list(soon())).map(({ id }) => id)).toContain(spec.id)
      docker.docker('rm', '--force', `opensandbox-${opened.instance.key}-${spec.id}`)
      await expect.poll(() => told).toContain('exited')
      await opened.runtime.remove(spec.id, { graceMs: 0 }, soon())
      expect(docker.docker('volume', 'ls', '--quiet')).toBe('')
    })

    test('the whole product by the variables that Docker has for it', async () => {
      const edge = await startEdge({
        args: ['--runtime', 'docker'],
        env: {
          DOCKER_HOST: `tcp://127.0.0.1:${port}`,
          DOCKER_TLS_VERIFY: '1',
          DOCKER_CERT_PATH: certificates.client,
        },
      })
      onTestFinished(() => edge.dispose())
      const sandbox = await createSandbox(edge, { networkPolicy: { defaultAction: 'deny', egress: [] } })
      expect((await run(sandbox, 'echo here')).stdout).toBe('here')
      expect((await run(sandbox, 'getent hosts denied.example')).exitCode).not.toBe(0)
      await sandbox.kill()
      await sandbox.close()
    })

    test.each<[string, () => string, RegExp]>([
      [
        'without a certificate of its own',
        () => `cert_path = "${certificates.authorityOnly}"`,
        /alert|certificate|hung up|ECONNRESET/,
      ],
      [
        'when it is signed by another authority',
        () => `cert_path = "${certificates.foreign}"`,
        /self.signed|unable to (verify|get)|signature/,
      ],
      ['without certificates', () => 'cert_path = "/nonexistent"', /neither ca\.pem nor cert\.pem/],
      ['without TLS', () => 'tls_verify = false', /HTTPS server|400|hung up/],
    ])('a daemon behind TLS is refused %s', async (_what, lines, why) => {
      const refused = openTestRuntime('docker', {
        docker,
        dockerConfig: `host = "tcp://127.0.0.1:${port}"\n${lines()}`,
      })
      await expect(refused).rejects.toThrow(why)
    })

    test('by SSH: a connection that breaks is made again, and sandboxes go on meanwhile', async () => {
      const opened = await open(bySsh)
      const told = follow(opened)
      await expect.poll(() => told).toEqual(['returned'])
      const { spec, sandbox } = await make(opened)
      ssh.breakOff()
      await expect.poll(() => told).toEqual(['returned', 'returned'])
      expect((await runIn(sandbox, spec, 'echo on')).stdout).toBe('on')
      expect(await opened.runtime.inspect(spec.id, soon())).toMatchObject({ state: 'running' })
      const other = await make(opened)
      expect((await runIn(other.sandbox, other.spec, 'echo new')).stdout).toBe('new')
      for (const { id } of [spec, other.spec]) await opened.runtime.remove(id, { graceMs: 0 }, soon())
      await opened.runtime.close()
      // Nothing is left for whoever removes the directory when it is empty.
      const left = readdirSync(opened.instance.runDir)
      expect(left.filter((name) => name === 'mounts' || name === 'docker-ssh')).toEqual([])
    })

    test('by SSH: a daemon that is killed and started again is found, with what it runs', async () => {
      const opened = await open(bySsh)
      const told = follow(opened)
      const { spec } = await make(opened)
      await docker.kill('SIGKILL')
      await expect(opened.runtime.create(specOf(), soon())).rejects.toMatchObject({ failure: 'unavailable' })
      await docker.start()
      await expect.poll(() => told.length).toBeGreaterThan(1)
      // Without live-restore it ends what ran.
      await expect.poll(async () => (await opened.runtime.inspect(spec.id, soon()))?.state).toBe('exited')
    })

    test('by SSH: a host that is not known by its key is refused, whatever the client is configured to', async () => {
      const refused = openTestRuntime('docker', {
        docker,
        dockerConfig: `host = "ssh://root@127.0.0.1:${ssh.port}"\nssh_config = "${ssh.configOfStranger}"`,
      })
      await expect(refused).rejects.toThrow(/ssh: Host key verification failed/)
    })

    test('one whose files this machine does not have is elsewhere, whatever it is reached by, and keeps nothing', async () => {
      const elsewhere = await startDocker({ hidesData: true })
      onTestFinished(() => elsewhere.dispose())
      const refused = openTestRuntime('docker', { docker: elsewhere })
      await expect(refused).rejects.toThrow(/not on this machine .*enforced by this machine's kernel/)
      expect(elsewhere.docker('volume', 'ls', '--quiet')).toBe('')
    })
  },
)

test('a daemon that is too old is refused by what it speaks', async () => {
  const server = createHttpServer((_, answer) =>
    answer.setHeader('content-type', 'application/json').end('{"ApiVersion":"1.40","MinAPIVersion":"1.12"}'),
  )
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const opening = openEngine({ host: '127.0.0.1', port, timeoutMs: 5000, signal: soon() })
  await expect(opening).rejects.toThrow(/up to version 1\.40, but at least 1\.41 is needed/)
})

test('a network that falls silent is noticed, and the stream of events opened anew', async () => {
  const daemon = createHttpServer((asked, answer) => {
    if (asked.url?.includes('/events')) return answer.writeHead(200).flushHeaders()
    answer.setHeader('content-type', 'application/json').end('{"ApiVersion":"1.41"}')
  })
  await new Promise<void>((done) => daemon.listen(0, '127.0.0.1', done))
  const lines = new Set<Socket>()
  let isSilent = false
  const network = createServer((near) => {
    const far = connect((daemon.address() as AddressInfo).port, '127.0.0.1')
    // Until somebody has given up.
    near.on('close', () => {
      isSilent = false
    })
    for (const each of [near, far]) {
      lines.add(each)
      each.on('error', () => each.destroy())
    }
    if (!isSilent) near.pipe(far).pipe(near)
  })
  await new Promise<void>((done) => network.listen(0, '127.0.0.1', done))
  onTestFinished(() => {
    for (const each of lines) each.destroy()
    network.close()
    daemon.close()
    daemon.closeAllConnections()
  })
  const stop = new AbortController()
  onTestFinished(() => stop.abort())
  const { port } = network.address() as AddressInfo
  const at = { host: '127.0.0.1', port, timeoutMs: 5000, aliveEveryMs: 100 }
  const engine = await openEngine({ ...at, signal: stop.signal })
  const events = followEvents(engine, { label: 'any', log: silent, signal: stop.signal })
  expect((await events.next()).value).toEqual({ type: 'connected' })
  // Nothing is closed: what is sent from now on comes nowhere.
  isSilent = true
  for (const each of lines) each.unpipe().pause()
  expect((await events.next()).value).toEqual({ type: 'connected' })
})
