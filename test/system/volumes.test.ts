// Volumes and disks of the running product when control is killed in the middle of making and removing them.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { instanceOf } from '../../lib/instance.ts'
import { type Edge, isAlive, startEdge } from '../support/edge.ts'

const MOMENTS = 6
/** The last moment lies about where a create is done. */
const LATEST_MS = 240

let edge: Edge
beforeAll(async () => {
  edge = await startEdge()
})
afterAll(() => edge?.dispose())

const call = (method: string, path: string, body?: object) =>
  fetch(`${edge.url}/v1${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(30_000),
  })

const create = (claimName: string) =>
  call('POST', '/sandboxes', {
    image: { uri: 'host' },
    entrypoint: ['sleep', '600'],
    resourceLimits: { cpu: '500m', memory: '256Mi', disk: '64Mi' },
    timeout: 600,
    volumes: [
      { name: 'a', mountPath: '/a', subPath: 'x', pvc: { claimName, deleteOnSandboxTermination: true } },
      { name: 'b', mountPath: '/b', pvc: { claimName: `${claimName}-kept` } },
    ],
  })

async function itemsOf(path: string): Promise<{ id?: string; name?: string; usedBy?: string[] }[]> {
  const answer = await call('GET', `${path}?pageSize=200`)
  return ((await answer.json()) as { items: { id?: string; name?: string; usedBy?: string[] }[] }).items
}

function controlPid(): number {
  const args = ['-o', 'pid=,args=', '--ppid', String(edge.launcherPid)]
  return Number(/^\s*(\d+) .*\/control\/main\.ts/m.exec(execFileSync('ps', args, { encoding: 'utf8' }))?.[1])
}

async function killControl(): Promise<void> {
  const pid = controlPid()
  process.kill(pid, 'SIGKILL')
  await expect.poll(() => isAlive(pid)).toBe(false)
  await expect.poll(() => controlPid() !== pid && controlPid() > 0).toBe(true)
  await expect.poll(async () => (await call('GET', '/sandboxes')).status).toBe(200)
}

/** What there is of sandboxes and volumes on the machine. */
function onMachine() {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  const { runDir } = instanceOf(edge.dataDir)
  return {
    volumes: readdirSync(join(edge.dataDir, 'volumes')).length,
    sandboxes: readdirSync(join(edge.dataDir, 'sandboxes')).length,
    places: readdirSync(join(runDir, 'mounts')).length,
    bound: mounts.filter((line) => line.includes(` ${runDir}/mounts/`)).length,
    disks: execFileSync('losetup', ['--list', '--output', 'BACK-FILE'], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes(edge.dataDir)).length,
  }
}

test(`SIGKILL of control at ${MOMENTS} moments of a create leaves no volume, mount or disk without its sandbox`, async () => {
  for (let moment = 0; moment < MOMENTS; moment++) {
    const answer = create(`m${moment}`).then(
      ({ status }) => status,
      () => undefined,
    )
    await delay((LATEST_MS * moment) / (MOMENTS - 1))
    await killControl()
    await answer
  }
  expect((await create('last')).status).toBe(202)
  const whole = async () => {
    const sandboxes = (await itemsOf('/sandboxes')).length
    const volumes = await itemsOf('/volumes')
    const there = onMachine()
    // Each sandbox has two volumes, of which none is there without it.
    const expected = {
      volumes: 2 * sandboxes,
      sandboxes,
      places: sandboxes,
      bound: 2 * sandboxes,
      disks: sandboxes,
    }
    const used = volumes.filter(({ usedBy }) => usedBy?.length === 1).length
    return JSON.stringify(there) === JSON.stringify(expected) &&
      volumes.length === used &&
      used === 2 * sandboxes
      ? 'whole'
      : JSON.stringify({ there, expected, volumes })
  }
  await expect.poll(whole, { timeout: 30_000, interval: 100 }).toBe('whole')
}, 240_000)

test('SIGKILL of control while sandboxes and volumes are removed: what is to go goes, what is kept stays', async () => {
  const sandboxes = await itemsOf('/sandboxes')
  expect(sandboxes.length).toBeGreaterThan(0)
  const removals = sandboxes.map(({ id }) => call('DELETE', `/sandboxes/${id}`).catch(() => undefined))
  await delay(60)
  await killControl()
  await Promise.all(removals)
  // Those whose removal was not begun are asked once more.
  for (const { id } of await itemsOf('/sandboxes')) await call('DELETE', `/sandboxes/${id}`)
  const kept = sandboxes.length
  await expect
    .poll(onMachine, { timeout: 30_000, interval: 100 })
    .toEqual({ volumes: kept, sandboxes: 0, places: 0, bound: 0, disks: 0 })
  const volumes = await itemsOf('/volumes')
  expect(volumes.map(({ name }) => name).filter((name) => !name?.endsWith('-kept'))).toEqual([])
  expect(volumes).toHaveLength(kept)
  for (const { name } of volumes) expect((await call('DELETE', `/volumes/${name}`)).status).toBe(204)
  await expect.poll(() => onMachine().volumes).toBe(0)
}, 120_000)
