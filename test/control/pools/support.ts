import { expect, onTestFinished } from 'vitest'
import { type ControlApp, type ControlAppOptions, createControlApp } from '../../support/control-app.ts'
import { waitFor } from '../../support/wait-for.ts'

export const SHAPE = {
  image: 'debian',
  entrypoint: ['sleep', '9'],
  resourceLimits: { cpu: '1', memory: '64Mi' },
}
/** A create that names just what the sandboxes of SHAPE are. */
export const LIKE_SHAPE = { ...SHAPE, image: { uri: 'debian' } }

export type Status = {
  total: number
  allocated: number
  available: number
  revision: string
  message?: string
}

/** An app whose pools are kept filled and whose templates are built. */
export function openPools(options: ControlAppOptions = {}): ControlApp {
  const control = createControlApp({ runsPooling: true, poolWaitMs: 50, ...options })
  onTestFinished(control.close)
  return control
}

export const capacity = (buffer: number, poolMax = 100) => ({
  bufferMin: buffer,
  bufferMax: buffer,
  poolMin: 0,
  poolMax,
})

export async function makePool(control: ControlApp, change: Record<string, unknown> = {}, headers = {}) {
  const body = { name: 'p', template: SHAPE, capacitySpec: capacity(2), ...change }
  const made = await control.call('POST', '/v1/pools', body, headers)
  expect([made.status, made.text]).toEqual([201, expect.any(String)])
  return made
}

export async function statusOf(control: ControlApp, path = '/v1/pools/p', headers = {}): Promise<Status> {
  return (await control.call('GET', path, undefined, headers)).body.status as Status
}

/** Resolves once the pool has so many warm sandboxes, and no more on their way. */
export async function untilWarm(control: ControlApp, available: number, path?: string, headers = {}) {
  await waitFor(async () => {
    const status = await statusOf(control, path, headers)
    expect(status).toMatchObject({ available, total: status.allocated + available })
  })
}

export const byPool = (poolRef: string, more: Record<string, unknown> = {}) => ({
  extensions: { poolRef },
  ...more,
})

/** Ids that the runtime has. */
export const running = (control: ControlApp) => [...control.runtime.sandboxes.keys()].sort()
