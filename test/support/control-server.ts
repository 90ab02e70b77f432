// Control as it is served, over a runtime in memory: its API on a port, every sandbox's network policy held by egress's own
// code, and one program that answers on loopback in the place of all sandboxes.

import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AccessSettings } from '../../control/access/access.ts'
import { startControl } from '../../control/control.ts'
import { createPolicyApp } from '../../egress/app.ts'
import { EGRESS_TOKEN_HEADER } from '../../lib/api/lifecycle.ts'
import { createSilentLogger } from '../../lib/log.ts'
import { createFakeKernel } from '../egress/fake-kernel.ts'
import { LIFE_SETTINGS, MIGRATIONS } from './control-app.ts'
import { createFakeRuntime, type FakeRuntime } from './fake-runtime.ts'

export type Ask = {
  method: string
  path: string
  /** A text is sent as it is, anything else as JSON. */
  body?: unknown
  headers?: Record<string, string>
}

export type Reply = {
  status: number
  /** By names in lower case; each line of a repeated one. */
  headers: Record<string, string[]>
  text: string
}

export type ControlServer = {
  port: number
  runtime: FakeRuntime
  /** The file of the database. */
  database: string
  /** Where a program listens for every sandbox; it answers `METHOD /path`. */
  appPort: number
  ask: (ask: Ask) => Promise<Reply>
  stop: () => Promise<void>
}

export async function startControlServer(access: AccessSettings = {}): Promise<ControlServer> {
  const dataDir = mkdtempSync(join(tmpdir(), 'control-'))
  const runtime = createFakeRuntime()
  const kernel = createFakeKernel()
  const sandboxes = kernel.open()
  const policies = createPolicyApp({ ...kernel, sandboxes, log: createSilentLogger() })
  let registered = 0
  const { create } = runtime
  runtime.create = async (spec, signal) => {
    const sandbox = { ...(await create(spec, signal)), address: '127.0.0.1' }
    runtime.sandboxes.set(spec.id, sandbox)
    registered += 1
    await sandboxes.register(spec.id, {
      address: `10.88.${1 + (registered >> 8)}.${registered & 255}`,
      interface: `osbab12${registered}`,
      token: spec.egressToken,
      ...(spec.networkPolicy && { policy: spec.networkPolicy }),
    })
    return sandbox
  }
  const app = await startApp()
  const control = await startControl({
    instance: {
      controlSocket: join(dataDir, 'control.sock'),
      feedSocket: join(dataDir, 'feed.sock'),
      policySocket: join(dataDir, 'policy.sock'),
    },
    dataDir,
    migrationsDir: MIGRATIONS,
    runtime,
    askEgress: async ({ id, method, token, body }) => {
      const answer = await policies.request(`/sandboxes/${id}/policy`, {
        method,
        headers: { [EGRESS_TOKEN_HEADER]: token },
        ...(body && { body: Buffer.from(body) }),
      })
      return {
        status: answer.status,
        contentType: answer.headers.get('content-type') ?? '',
        body: new Uint8Array(await answer.arrayBuffer()),
      }
    },
    settings: { domain: 'localhost', arch: 'amd64', version: '9.9.9' },
    accessSettings: access,
    lifeSettings: LIFE_SETTINGS,
    listen: { host: '127.0.0.1', port: 0 },
    log: createSilentLogger(),
  })
  const port = control.port ?? 0
  return {
    port,
    runtime,
    database: join(dataDir, 'control.db'),
    appPort: (app.address() as AddressInfo).port,
    ask: (what) => send(port, what),
    async stop() {
      await control.stop()
      app.closeAllConnections()
      app.close()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

/** An id that no sandbox, pool or template has. */
export function unknownId(): string {
  return `missing-${randomUUID().slice(0, 8)}`
}

async function startApp(): Promise<Server> {
  const app = createServer((incoming, outgoing) => {
    incoming.resume()
    outgoing.end(incoming.method === 'HEAD' ? undefined : `${incoming.method} ${incoming.url}`)
  })
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve))
  return app
}

// By node:http and not by fetch, which may not name a Host and joins repeated headers.
function send(port: number, { method, path, body, headers = {} }: Ask): Promise<Reply> {
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: '127.0.0.1',
        port,
        method,
        path,
        headers: {
          ...(text !== undefined && {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(text),
          }),
          ...headers,
        },
        signal: AbortSignal.timeout(20_000),
      },
      (incoming) => {
        const chunks: Buffer[] = []
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
        incoming.on('error', reject)
        incoming.on('end', () =>
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headersDistinct as Record<string, string[]>,
            text: Buffer.concat(chunks).toString(),
          }),
        )
      },
    )
    outgoing.on('error', reject)
    outgoing.end(text)
  })
}
