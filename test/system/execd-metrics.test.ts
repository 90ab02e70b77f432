// What a sandbox on the real machine tells of itself: its own limits and its own use, whatever the machine has and does.

import type { Sandbox } from '@alibaba-group/opensandbox'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Metrics } from '../../lib/api/execd-metrics.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { createSandbox, run } from '../support/sandbox.ts'

let edge: Edge
let sandbox: Sandbox

beforeAll(async () => {
  edge = await startEdge()
  sandbox = await createSandbox(edge, { resource: { cpu: '1', memory: '512Mi' } })
})

afterAll(async () => {
  await sandbox?.close()
  await edge?.dispose()
})

async function read(): Promise<Metrics> {
  const { endpoint, headers } = await sandbox.getEndpoint(44772)
  const response = await fetch(`http://${endpoint}/metrics`, { headers: headers ?? {} })
  expect(response.status).toBe(200)
  return (await response.json()) as Metrics
}

test('M1: a sandbox of 512 MiB and one CPU says so', async () => {
  const metrics = await read()
  expect(metrics.cpu_count).toBe(1)
  expect(metrics.mem_total_mib).toBe(512)
  expect(metrics.mem_used_mib).toBeGreaterThan(0)
  expect(metrics.mem_used_mib).toBeLessThan(150)
  expect(metrics.process_count).toBeLessThan(15)
  expect(await sandbox.getMetrics()).toMatchObject({ cpuCount: 1, memoryTotalMiB: 512 })
})

test('a busy process is seen as all of the one CPU, not as a share of the machine', async () => {
  const busy = run(sandbox, 'timeout 8 sh -c "while :; do :; done"')
  await expect.poll(async () => (await read()).cpu_used_pct).toBeGreaterThan(60)
  await busy
})

test('memory that a process holds counts, and file pages that the kernel would give up do not', async () => {
  const before = await read()
  const held = run(
    sandbox,
    `python3 -c "x = bytearray(200 << 20); print(len(x), flush=True); import time; time.sleep(5)"`,
  )
  await expect.poll(async () => (await read()).mem_used_mib).toBeGreaterThan(before.mem_used_mib + 180)
  await held
  await run(sandbox, 'head -c 200M /dev/zero > /tmp/file; sync; cat /tmp/file > /dev/null; rm /tmp/file')
  await run(sandbox, 'head -c 200M /dev/zero > /tmp/file; sync')
  expect((await read()).mem_used_mib).toBeLessThan(before.mem_used_mib + 100)
})

test('tells how many processes the kernel has ended for memory', async () => {
  const before = (await read()).oom_kills ?? 0
  await run(sandbox, `python3 -c "x = bytearray(800 << 20)"`)
  expect((await read()).oom_kills).toBe(before + 1)
})

test('counts what goes over its own network', async () => {
  const before = (await read()).network_sent_bytes ?? 0
  expect((await read()).network_sent_bytes).toBeGreaterThan(before)
})
