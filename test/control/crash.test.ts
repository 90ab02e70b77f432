// Control killed with SIGKILL at many moments of create and delete: what was acknowledged is there afterwards, what was not is
// gone or whole, nothing half is left, and the next create works.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { MINIMAL } from '../support/control-app.ts'
import { startControlProcess } from '../support/control-process.ts'

const CREATE_MS = 60
const MOMENTS = 20

function openDataDir(): string {
  const dataDir = mkdtempSync(join(tmpdir(), 'control-'))
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 }))
  return dataDir
}

const start = (dataDir: string, flags: string[] = []) => startControlProcess(dataDir, CREATE_MS, flags)

const create = async (url: string, more: object = {}) => {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...MINIMAL, ...more }),
  })
  const body = (await response.json()) as { id: string }
  expect(response.status).toBe(202)
  return body.id
}

const list = async (url: string) => {
  const body = (await (await fetch(`${url}?pageSize=200`)).json()) as {
    items: { id: string; status: { state: string } }[]
  }
  return new Map(body.items.map(({ id, status }) => [id, status.state]))
}

/** What the runtime has: ids with their states. */
function existing(dataDir: string): Map<string, string> {
  const folder = join(dataDir, 'sandboxes')
  return new Map(
    readdirSync(folder)
      .filter((name) => !name.endsWith('.new'))
      .map((id) => [id, (JSON.parse(readFileSync(join(folder, id), 'utf8')) as { state: string }).state]),
  )
}

test(`SIGKILL at ${MOMENTS} moments of create and delete`, async () => {
  const dataDir = openDataDir()
  const acknowledged = new Set<string>()
  let control = await start(dataDir)
  const keeper = await create(control.sandboxes, { metadata: { role: 'keeper' } })
  for (let moment = 0; moment < MOMENTS; moment++) {
    const victim = await create(control.sandboxes)
    acknowledged.add(victim)
    const creating = create(control.sandboxes).then(
      (id) => void acknowledged.add(id),
      () => undefined,
    )
    const deleting = fetch(`${control.sandboxes}/${victim}`, { method: 'DELETE' }).then(
      ({ status }) => status,
      () => undefined,
    )
    await new Promise((resolve) => setTimeout(resolve, (CREATE_MS * 1.5 * moment) / MOMENTS))
    await control.kill('SIGKILL')
    await creating
    const deleted = await deleting
    if (deleted === 204) acknowledged.delete(victim)
    control = await start(dataDir)
    const known = await list(control.sandboxes)
    // Rows and reality are the same, and whole.
    expect(existing(dataDir)).toEqual(new Map([...known].map(([id]) => [id, 'running'])))
    expect(new Set(known.values())).toEqual(new Set(['Running']))
    expect(known.has(keeper)).toBe(true)
    if (deleted === 204) expect(known.has(victim)).toBe(false)
    // A deletion that was not answered may have been done or not; everything else that was answered is there.
    for (const id of acknowledged) if (id !== victim) expect(known.has(id), `acknowledged ${id}`).toBe(true)
    if (!known.has(victim)) acknowledged.delete(victim)
  }
  const read = (await (await fetch(`${control.sandboxes}/${keeper}`)).json()) as { metadata: unknown }
  expect(read.metadata).toEqual({ role: 'keeper' })
  await control.kill('SIGTERM')
}, 240_000)

test('a renewal that was answered survives SIGKILL', async () => {
  const dataDir = openDataDir()
  const first = await start(dataDir)
  const id = await create(first.sandboxes, { timeout: 60 })
  const renewed = await fetch(`${first.sandboxes}/${id}/renew-expiration`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ expiresAt: '2099-01-01T00:00:00Z' }),
  })
  expect(renewed.status).toBe(200)
  await first.kill('SIGKILL')
  const second = await start(dataDir)
  const read = (await (await fetch(`${second.sandboxes}/${id}`)).json()) as { expiresAt: string }
  expect(read.expiresAt).toBe('2099-01-01T00:00:00Z')
  await second.kill('SIGTERM')
})

test('SIGTERM leaves sandboxes running, and takes them with --stop-sandboxes', async () => {
  const dataDir = openDataDir()
  const first = await start(dataDir)
  const id = await create(first.sandboxes)
  await first.kill('SIGTERM')
  expect([...existing(dataDir).keys()]).toEqual([id])
  const second = await start(dataDir, ['--stop-sandboxes'])
  expect([...(await list(second.sandboxes)).keys()]).toEqual([id])
  await second.kill('SIGTERM')
  expect(existing(dataDir).size).toBe(0)
  const third = await start(dataDir)
  expect((await list(third.sandboxes)).size).toBe(0)
  await third.kill('SIGTERM')
}, 60_000)
