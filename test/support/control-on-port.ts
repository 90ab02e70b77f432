// Control on a port of its own, over a runtime whose sandboxes are all at 127.0.0.1: what a test listens on there is a program in
// each of them.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { type Control, type ControlOptions, startControl } from '../../control/control.ts'
import { createSilentLogger } from '../../lib/log.ts'
import { LIFE_SETTINGS, MIGRATIONS, MINIMAL } from './control-app.ts'
import { createFakeRuntime } from './fake-runtime.ts'

export type ControlOnPort = {
  control: Control
  dataDir: string
  port: number
  /** The URL of its API, without a slash at its end. */
  base: string
  /** Where it looks for egress's policy API. */
  policySocket: string
}

/** Starts it; it is stopped with the test. */
export async function openControlOnPort(
  options: Partial<Pick<ControlOptions, 'accessSettings' | 'scope' | 'log' | 'trustedProxies'>> = {},
): Promise<ControlOnPort> {
  const dataDir = mkdtempSync(join(tmpdir(), 'control-'))
  const runtime = createFakeRuntime()
  const make = runtime.create
  runtime.create = async (spec, signal) => {
    const sandbox = { ...(await make(spec, signal)), address: '127.0.0.1' }
    runtime.sandboxes.set(spec.id, sandbox)
    return sandbox
  }
  const policySocket = join(dataDir, 'p.sock')
  const control = await startControl({
    instance: {
      controlSocket: join(dataDir, 'c.sock'),
      feedSocket: join(dataDir, 'f.sock'),
      policySocket,
    },
    dataDir,
    migrationsDir: MIGRATIONS,
    runtime,
    askEgress: () => Promise.reject(new Error('no egress here')),
    settings: { domain: 'localhost', arch: 'amd64', version: '0.0.0' },
    accessSettings: {},
    lifeSettings: LIFE_SETTINGS,
    listen: { host: '127.0.0.1', port: 0 },
    log: createSilentLogger(),
    ...options,
  })
  onTestFinished(async () => {
    await control.stop()
    rmSync(dataDir, { recursive: true, force: true })
  })
  const port = control.port ?? 0
  return { control, dataDir, port, base: `http://127.0.0.1:${port}`, policySocket }
}

/** Makes a sandbox, and returns its id. */
export async function createSandbox(base: string, key: string, more: object = {}): Promise<string> {
  const made = await fetch(`${base}/sandboxes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'open-sandbox-api-key': key },
    body: JSON.stringify({ ...MINIMAL, ...more }),
  })
  const { id } = (await made.json()) as { id: string }
  return id
}
