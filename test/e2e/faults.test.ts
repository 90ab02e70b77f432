// Faults in the middle of things: no half sandbox stays, no orphan, and the next create works.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { instanceOf } from '../../lib/instance.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { interruptSnapshots } from '../support/interrupted-snapshots.ts'
import { controlPid, killControl } from '../support/kill-control.ts'

const GOOD = {
  image: { uri: 'host' },
  entrypoint: ['sleep', '600'],
  resourceLimits: { cpu: '500m', memory: '256Mi' },
  timeout: 600,
}
const MOMENTS = 20
/** The last moment lies about where a create is done. */
const LATEST_MS = 190

async function start(options: Parameters<typeof startEdge>[0] = {}): Promise<Edge> {
  const edge = await startEdge(options)
  onTestFinished(() => edge.dispose())
  return edge
}

const create = (edge: Edge, change: object = {}, signal = AbortSignal.timeout(30_000)) =>
  fetch(`${edge.url}/v1/sandboxes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...GOOD, ...change }),
    signal,
  })

async function list(edge: Edge): Promise<string[]> {
  const response = await fetch(`${edge.url}/v1/sandboxes?pageSize=200`)
  return ((await response.json()) as { items: { id: string }[] }).items.map(({ id }) => id).sort()
}

/** What exists of sandboxes on the machine, one number for each kind of thing. */
function counts(edge: Edge): Record<string, number> {
  const { interfacePrefix, key } = instanceOf(edge.dataDir)
  const links = execFileSync('ip', ['-o', 'link'], { encoding: 'utf8' })
  const rules = execFileSync('nft', ['list', 'table', 'inet', `opensandbox_${key}`], { encoding: 'utf8' })
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  const interfaces = new Set(links.match(new RegExp(`${interfacePrefix}[0-9a-z]{8}`, 'g')) ?? [])
  const ruled = new Set(rules.match(new RegExp(`${interfacePrefix}[0-9a-z]{8}`, 'g')) ?? [])
  return {
    interfaces: interfaces.size,
    ruled: ruled.size,
    mounts: mounts.filter((line) => line.includes(`${edge.dataDir}/sandboxes`)).length,
    directories: readdirSync(join(edge.dataDir, 'sandboxes')).length,
  }
}

describe('SIGKILL of control in the middle of create', () => {
  test(`at ${MOMENTS} moments: nothing half is left, and the next create works; and snapshots and forks are whole or gone (D10)`, async () => {
    const edge = await start()
    expect((await create(edge)).status).toBe(202)
    const one = counts(edge)
    const acknowledged = await list(edge)
    for (let moment = 0; moment < MOMENTS; moment++) {
      const pid = controlPid(edge)
      // Of an answer also the beginning may have come alone.
      const answer = create(edge)
        .then(async (response) =>
          response.status === 202 ? ((await response.json()) as { id: string }).id : undefined,
        )
        .catch(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, (LATEST_MS * moment) / (MOMENTS - 1)))
      await killControl(edge, pid)
      const id = await answer
      if (id) acknowledged.push(id)
      // A create whose answer was lost may have been finished; then it is a whole sandbox and in the list.
      await expect
        .poll(
          async () => {
            const found = await list(edge)
            const there = counts(edge)
            const whole = Object.entries(one).every(([kind, number]) => there[kind] === number * found.length)
            return whole && acknowledged.every((each) => found.includes(each))
              ? 'whole'
              : JSON.stringify({ found, there, acknowledged })
          },
          { interval: 100 },
        )
        .toBe('whole')
    }
    expect((await create(edge)).status).toBe(202)
    for (const id of await list(edge)) {
      expect((await fetch(`${edge.url}/v1/sandboxes/${id}`, { method: 'DELETE' })).status).toBe(204)
    }
    await expect.poll(() => counts(edge)).toEqual({ interfaces: 0, ruled: 0, mounts: 0, directories: 0 })
    // In the same product, as one takes long to start.
    await interruptSnapshots(edge)
    await expect
      .poll(() => ['layers', 'snapshots'].flatMap((name) => readdirSync(join(edge.dataDir, name))))
      .toEqual([])
  }, 400_000)
})

describe('a create that cannot succeed leaves nothing', () => {
  const nothing = { interfaces: 0, ruled: 0, mounts: 0, directories: 0 }

  test('an image that does not exist', async () => {
    const edge = await start()
    const response = await create(edge, { image: { uri: 'no-such-image' } })
    const body = (await response.json()) as { code: string; message: string }
    expect(body.code).toBe('DOCKER::SANDBOX_IMAGE_PULL_FAILED')
    expect(body.message).toContain('no-such-image')
    expect(await list(edge)).toEqual([])
    expect(counts(edge)).toEqual(nothing)
    expect((await create(edge)).status).toBe(202)
  })

  test('an entrypoint that does not exist', async () => {
    const edge = await start()
    const response = await create(edge, { entrypoint: ['/no/such/program'] })
    expect(response.status).toBeGreaterThanOrEqual(400)
    expect(((await response.json()) as { message: string }).message).toContain('/no/such/program')
    expect(await list(edge)).toEqual([])
    expect(counts(edge)).toEqual(nothing)
  })

  test.each([
    ['before it has made anything', ''],
    ['after it has started the first process', 'runc "$@"; '],
  ])('an OCI runtime that fails %s', async (_when, before) => {
    const folder = mkdtempSync(join(tmpdir(), 'failing-runtime-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const runtime = join(folder, 'failing-runc')
    const failing = join(folder, 'fail')
    writeFileSync(
      runtime,
      `#!/bin/sh\nif [ -e ${failing} ]; then for a in "$@"; do [ "$a" = run ] && { ${before}echo "broken on purpose" >&2; exit 1; }; done; fi\nexec runc "$@"\n`,
      { mode: 0o755 },
    )
    writeFileSync(failing, '')
    const edge = await start({ config: `[runtime]\noci_runtime = "${runtime}"\n` })
    const response = await create(edge)
    expect(response.status).toBe(500)
    const body = (await response.json()) as { code: string; message: string }
    expect(body.code).toBe('DOCKER::SANDBOX_START_FAILED')
    expect(await list(edge)).toEqual([])
    expect(counts(edge)).toEqual(nothing)
    rmSync(failing)
    expect((await create(edge)).status).toBe(202)
  })

  test('a disk that is full', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'small-disk-'))
    // Enough for the runtime directory and the database, and no more once it is filled up.
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=400m', 'tmpfs', dataDir])
    onTestFinished(() => {
      execFileSync('umount', ['-l', dataDir])
      rmSync(dataDir, { recursive: true, force: true })
    })
    const edge = await startEdge({ dataDir })
    mkdirSync(join(dataDir, 'filler'))
    try {
      execFileSync('dd', ['if=/dev/zero', `of=${join(dataDir, 'filler/zeros')}`, 'bs=64k'], {
        stdio: 'ignore',
      })
    } catch {
      // dd ends with an error when the disk is full, as it shall be.
    }
    const response = await create(edge)
    const body = (await response.json()) as { code: string; message: string }
    expect(response.status).toBeGreaterThanOrEqual(500)
    expect(body.message).toMatch(/space|full/i)
    rmSync(join(dataDir, 'filler'), { recursive: true })
    await expect.poll(() => list(edge)).toEqual([])
    await expect.poll(() => counts(edge)).toEqual(nothing)
    const { id } = (await (await create(edge)).json()) as { id: string }
    expect(await list(edge)).toEqual([id])
    expect((await fetch(`${edge.url}/v1/sandboxes/${id}`, { method: 'DELETE' })).status).toBe(204)
    expect(await edge.stop()).toBe(0)
  })
})
