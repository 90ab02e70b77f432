// Volumes by the published SDKs, as they are on PyPI and npm.

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Sandbox, Volume } from '@alibaba-group/opensandbox'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { type CheckResult, checksOf, runChecks } from '../support/python-checks.ts'
import { pythonWithSdk } from '../support/python-sdk.ts'
import { createSandbox, run } from '../support/sandbox.ts'

const SCRIPT = join(import.meta.dirname, 'volumes_surface.py')

let edge: Edge
/** Of the host, and allowed. */
let directory: string

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'allowed-'))
  edge = await startEdge({ config: `[storage]\nallowed_host_paths = [${JSON.stringify(directory)}]\n` })
})
afterAll(async () => {
  await edge?.dispose()
  rmSync(directory, { recursive: true, force: true })
})

describe('Python SDK', () => {
  let results: Map<string, CheckResult>
  beforeAll(async () => {
    results = await runChecks(await pythonWithSdk(), SCRIPT, [`127.0.0.1:${edge.port}`, 'host', directory])
  }, 300_000)

  test.each(checksOf(SCRIPT))('%s', (name) => {
    const result = results.get(name)
    expect(result, 'the script ended before this check').toBeDefined()
    expect(result?.detail ?? '').toBe('')
    expect(result?.ok).toBe(true)
  })
})

describe('JavaScript SDK', () => {
  const create = async (...volumes: Volume[]): Promise<Sandbox> => {
    const sandbox = await createSandbox(edge, { volumes })
    onTestFinished(async () => {
      await sandbox.kill().catch(() => {}) // the test may have ended it
      await sandbox.close()
    })
    return sandbox
  }

  test('named volumes and host directories, shared, nested and taken away', async () => {
    const one = await create(
      { name: 'data', mountPath: '/data', pvc: { claimName: 'js' } },
      { name: 'work', mountPath: '/data/work', host: { path: directory }, subPath: 'js' },
    )
    const other = await create({
      name: 'data',
      mountPath: '/mnt/data',
      readOnly: true,
      pvc: { claimName: 'js', createIfNotExists: false },
    })
    expect((await run(one, 'echo hi > /data/a && echo ho > /data/work/b')).exitCode).toBe(0)
    expect((await run(other, 'cat /mnt/data/a')).stdout).toBe('hi')
    expect((await run(other, 'touch /mnt/data/c')).exitCode).not.toBe(0)
    expect(readFileSync(join(directory, 'js/b'), 'utf8')).toBe('ho\n')
    const shown = (await (await fetch(`${edge.url}/v1/volumes/js`)).json()) as {
      usedBy: string[]
      sizeBytes: number
    }
    expect(shown.usedBy).toEqual([one.id, other.id].sort())
    expect(shown.sizeBytes).toBeGreaterThan(0)
    const used = await fetch(`${edge.url}/v1/volumes/js`, { method: 'DELETE' })
    expect(used.status).toBe(409)
    await one.kill()
    await other.kill()
    expect((await fetch(`${edge.url}/v1/volumes/js`, { method: 'DELETE' })).status).toBe(204)
    expect(existsSync(join(directory, 'js/b'))).toBe(true)
  })

  test('a disk is as large as it was given', async () => {
    const sandbox = await createSandbox(edge, { resource: { cpu: '1', memory: '512Mi', disk: '64Mi' } })
    onTestFinished(() => sandbox.close())
    expect((await run(sandbox, 'head -c 100000000 /dev/zero > /root/fill')).stderr).toContain('No space left')
    await sandbox.files.deleteFiles(['/root/fill'])
    await sandbox.files.writeFiles([{ path: '/root/small', data: 'there is room' }])
    expect(await sandbox.files.readFile('/root/small')).toBe('there is room')
    await sandbox.kill()
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(sandbox.id)
  })
})
