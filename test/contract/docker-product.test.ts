// The whole product on Docker as a user starts it: the first sandbox by the published SDK, pools and templates above the port, a daemon
// that goes and comes back, and a restart of all programs.

import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ConnectionConfig, Sandbox } from '@alibaba-group/opensandbox'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { pause } from '../../control/async.ts'
import { startDocker, type TestDocker } from '../support/docker.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { interruptSnapshots } from '../support/interrupted-snapshots.ts'
import { createSandbox, run } from '../support/sandbox.ts'
import { whyNot } from './runtimes.ts'

// A restart of all programs takes long on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const reason = whyNot('docker')

type Raw = { id: string; status: { state: string; reason?: string; message?: string } }

describe.skipIf(reason !== undefined)(
  `the product on Docker${reason ? `, not tried, as ${reason}` : ''}`,
  () => {
    let docker: TestDocker
    let edge: Edge
    const options = () => ({ args: ['--runtime', 'docker'], env: { DOCKER_HOST: docker.host } })

    beforeAll(async () => {
      docker = await startDocker()
      edge = await startEdge(options())
    })
    afterAll(async () => {
      await edge?.dispose()
      await docker?.dispose()
    })

    // What one test has left is no matter of the next.
    afterEach(async () => {
      const { items } = (await ask('GET', '/v1/sandboxes?pageSize=200')).body as { items: Raw[] }
      await Promise.all(items.map(({ id }) => ask('DELETE', `/v1/sandboxes/${id}`)))
    })

    const ask = async (method: string, path: string, body?: object) => {
      const answer = await fetch(`${edge.url}${path}`, {
        method,
        ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(30_000),
      })
      const text = await answer.text()
      return { status: answer.status, body: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> }
    }
    const stateOf = async (id: string) => ((await ask('GET', `/v1/sandboxes/${id}`)).body as Raw).status
    const REQUEST = {
      image: { uri: 'host' },
      entrypoint: ['sleep', '600'],
      resourceLimits: { cpu: '1', memory: '256Mi' },
      timeout: 600,
    }

    test('a first sandbox by the published SDK, reached through the gateway, held to its policy', async () => {
      const sandbox = await Sandbox.create({
        connectionConfig: new ConnectionConfig({
          domain: `127.0.0.1:${edge.port}`,
          requestTimeoutSeconds: 60,
        }),
        image: 'host',
        entrypoint: ['python3', '-m', 'http.server', '8000'],
        networkPolicy: { defaultAction: 'deny', egress: [{ action: 'allow', target: 'example.com' }] },
      })
      await sandbox.files.writeFiles([{ path: '/workspace/hello.txt', data: 'hello' }])
      expect((await run(sandbox, 'cat hello.txt; echo; echo $OPENSANDBOX_ID')).stdout).toContain(sandbox.id)
      // Its web server takes a moment to listen.
      await expect
        .poll(async () => (await fetch(`${edge.url}/sandboxes/${sandbox.id}/proxy/8000/hello.txt`)).text())
        .toBe('hello')
      const policy = await ask('GET', `/v1/sandboxes/${sandbox.id}/networkpolicy`)
      expect(policy).toMatchObject({ status: 200 })
      expect((await run(sandbox, 'getent hosts denied.example')).exitCode).not.toBe(0)
      await sandbox.kill()
      await sandbox.close()
    })

    test('L4: pausing twice is refused, and a paused sandbox survives a restart of all programs', async () => {
      const sandbox = await createSandbox(edge)
      const path = `/v1/sandboxes/${sandbox.id}`
      expect((await ask('POST', `${path}/pause`)).status).toBe(202)
      expect((await ask('POST', `${path}/pause`)).status).toBe(409)
      const { dataDir, port } = edge
      await edge.stop()
      edge = await startEdge({ ...options(), dataDir, port })
      expect((await stateOf(sandbox.id)).state).toBe('Paused')
      expect((await ask('POST', `${path}/resume`)).status).toBe(202)
      expect((await run(sandbox, 'echo awake')).stdout).toBe('awake')
      await sandbox.kill()
      await sandbox.close()
    })

    test('D10: snapshots and forks are whole or gone when control dies in one', {
      timeout: 240_000,
    }, async () => {
      await interruptSnapshots(edge)
      await expect.poll(() => docker.docker('images', '--quiet', 'opensandbox-snapshots')).toBe('')
    })

    test.each([
      [
        { gpu: '1' },
        /resourceLimits\.gpu.*cannot be given here: this Docker daemon has no runtime for GPUs; .*NVIDIA/,
      ],
      [{ gpu: 'all' }, /resourceLimits\.gpu.*cannot be given here/],
      [
        { disk: '1Gi' },
        /resourceLimits\.disk.*cannot be held here: .*(the storage driver|this Docker daemon lies)/,
      ],
    ])('S10: %j is refused with why, and makes nothing', async (more, message) => {
      const limits = { ...REQUEST.resourceLimits, ...more }
      const refused = await ask('POST', '/v1/sandboxes', { ...REQUEST, resourceLimits: limits })
      expect(refused).toMatchObject({ status: 400, body: { message: expect.stringMatching(message) } })
      expect(docker.docker('ps', '--all', '--quiet')).toBe('')
    })

    test('P10: a pool keeps sandboxes warm, and a create takes one', async () => {
      const pool = {
        name: 'warm',
        template: {
          spec: {
            containers: [
              { name: 'main', image: 'host', resources: { limits: { cpu: '1', memory: '256Mi' } } },
            ],
          },
        },
        capacitySpec: { bufferMin: 1, bufferMax: 1, poolMin: 0, poolMax: 3 },
      }
      const made = await ask('POST', '/v1/pools', pool)
      expect(made.status, JSON.stringify(made.body)).toBe(201)
      await expect
        .poll(async () => (await ask('GET', '/v1/pools/warm')).body.status)
        .toMatchObject({ available: 1 })
      const containers = docker.docker('ps', '--quiet', '--no-trunc').split('\n').filter(Boolean)
      expect(containers).toHaveLength(1)
      const claimed = await ask('POST', '/v1/sandboxes', {
        timeout: 600,
        extensions: { poolRef: 'warm' },
      })
      expect(claimed.status, JSON.stringify(claimed.body)).toBe(202)
      const { id } = claimed.body as Raw
      expect(docker.docker('ps', '--no-trunc', '--format', '{{.ID}} {{.Names}}')).toMatch(
        new RegExp(`^${containers[0]} .*${id}$`, 'm'),
      )
      expect((await ask('DELETE', `/v1/sandboxes/${id}`)).status).toBe(204)
      expect((await ask('DELETE', '/v1/pools/warm')).status).toBe(204)
      await expect.poll(() => docker.docker('ps', '--all', '--quiet')).toBe('')
    })

    test('a template is tried out, and sandboxes are made from it', async () => {
      const made = await ask('POST', '/v1/templates', {
        image: 'host',
        publish: 'tried',
        readiness: { warmupSeconds: 0 },
        env: { FROM: 'the template' },
        resourceLimits: REQUEST.resourceLimits,
      })
      expect(made.status, JSON.stringify(made.body)).toBe(201)
      const { templateId } = made.body
      await expect
        .poll(async () => (await ask('GET', `/v1/templates/${templateId}`)).body.status)
        .toMatchObject({ phase: 'Succeeded' })
      const sandbox = await createSandbox(edge, { image: 'tried' })
      expect((await run(sandbox, 'echo $FROM')).stdout).toBe('the template')
      await sandbox.kill()
      await sandbox.close()
    })

    test('L8: without its daemon it says so with 503, and within 5 s after it is back all states are right', async () => {
      const sandbox = await createSandbox(edge)
      await expect.poll(async () => (await ask('GET', '/ready')).status).toBe(200)
      await docker.kill('SIGKILL')
      await expect
        .poll(async () => await ask('GET', '/ready'))
        .toMatchObject({ status: 503, body: { checks: { runtime: { ok: false } } } })
      const refused = await ask('POST', '/v1/sandboxes', REQUEST)
      expect([refused.status, refused.body.code]).toEqual([503, 'DOCKER::UNAVAILABLE'])
      expect(JSON.stringify(refused.body)).not.toContain('docker.sock')
      // Nothing says that it has ended, and its files and commands are there as before.
      expect((await stateOf(sandbox.id)).state).toBe('Running')
      expect((await run(sandbox, 'echo alive')).stdout).toBe('alive')
      await docker.start()
      await expect.poll(async () => (await stateOf(sandbox.id)).state).toBe('Failed')
      await expect.poll(async () => (await ask('GET', '/ready')).status).toBe(200)
      expect((await ask('DELETE', `/v1/sandboxes/${sandbox.id}`)).status).toBe(204)
      const next = await createSandbox(edge)
      expect((await run(next, 'echo new')).stdout).toBe('new')
      await Promise.all([next.kill(), sandbox.close()])
      await next.close()
      expect(docker.docker('ps', '--all', '--quiet')).toBe('')
    })

    test('L1: a sandbox whose image was removed is got and listed as before', async () => {
      const sandbox = await createSandbox(edge)
      const image = docker.docker('ps', '--format', '{{.Image}}').trim()
      // The daemon keeps the image of what runs.
      docker.docker('kill', ...docker.docker('ps', '--quiet').split('\n').filter(Boolean))
      await expect.poll(async () => (await stateOf(sandbox.id)).state).toBe('Failed')
      docker.docker('rmi', '--force', image)
      expect((await ask('GET', `/v1/sandboxes/${sandbox.id}`)).body).toMatchObject({ image: { uri: 'host' } })
      expect(((await ask('GET', '/v1/sandboxes')).body as { items: Raw[] }).items).toHaveLength(1)
      await sandbox.kill()
      await sandbox.close()
    })

    test('L3: deletes that come together all succeed', async () => {
      const sandbox = await createSandbox(edge)
      const answers = await Promise.all(
        Array.from({ length: 4 }, () => ask('DELETE', `/v1/sandboxes/${sandbox.id}`)),
      )
      for (const { status } of answers) expect([204, 404]).toContain(status)
      expect(answers.some(({ status }) => status === 204)).toBe(true)
      await sandbox.close()
      expect(docker.docker('ps', '--all', '--quiet')).toBe('')
    })

    test('control that is killed at any moment of a create leaves whole sandboxes or nothing', async () => {
      for (const ms of [20, 150, 320]) {
        const pid = controlPid(edge)
        const creating = ask('POST', '/v1/sandboxes', REQUEST).catch(() => undefined)
        await pause(ms, AbortSignal.timeout(10_000))
        process.kill(pid, 'SIGKILL')
        await creating
        await expect.poll(() => controlPid(edge) !== pid && controlPid(edge) > 0).toBe(true)
        // A create whose answer was lost may have been finished.
        await expect
          .poll(
            async () => {
              const listed = await ask('GET', '/v1/sandboxes?pageSize=200').catch(() => undefined)
              if (listed?.status !== 200) return 'no answer'
              const ids = (listed.body as { items: Raw[] }).items.map(({ id }) => id)
              const names = docker.docker('ps', '--all', '--format', '{{.Names}}').split('\n').filter(Boolean)
              const folders = readdirSync(join(edge.dataDir, 'sandboxes'))
              const isWhole = names.length === ids.length && folders.length === ids.length
              return isWhole && ids.every((id) => folders.includes(id))
                ? 'whole'
                : JSON.stringify({ ids, names })
            },
            { interval: 100 },
          )
          .toBe('whole')
      }
      const { items } = (await ask('GET', '/v1/sandboxes?pageSize=200')).body as { items: Raw[] }
      await Promise.all(items.map(({ id }) => ask('DELETE', `/v1/sandboxes/${id}`)))
      expect(docker.docker('ps', '--all', '--quiet')).toBe('')
    }, 120_000)
  },
)

function controlPid(edge: Edge): number {
  const out = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(edge.launcherPid)], {
    encoding: 'utf8',
  })
  return Number(/^\s*(\d+) .*\/control\/main\.ts/m.exec(out)?.[1])
}
