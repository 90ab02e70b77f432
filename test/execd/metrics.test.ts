import { readFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Metrics } from '../../lib/api/execd-metrics.ts'
import { type Daemon, startDaemon, until } from './daemon.ts'

let execd: Daemon
beforeAll(async () => {
  execd = await startDaemon()
})
afterAll(() => execd[Symbol.asyncDispose]())

const read = async () => (await (await execd.call('/metrics')).json()) as Metrics

function expectSound(metrics: Metrics): void {
  expect(metrics.cpu_count).toBeGreaterThan(0)
  expect(metrics.cpu_used_pct).toBeGreaterThanOrEqual(0)
  expect(metrics.cpu_used_pct).toBeLessThanOrEqual(100)
  expect(metrics.mem_total_mib).toBeGreaterThan(0)
  expect(metrics.mem_used_mib).toBeGreaterThan(0)
  expect(metrics.mem_used_mib).toBeLessThanOrEqual(metrics.mem_total_mib)
  expect(Number.isInteger(metrics.timestamp)).toBe(true)
  expect(Math.abs(Date.now() - metrics.timestamp)).toBeLessThan(180_000)
  expect(metrics).toMatchObject({
    cpu_used_percentage: metrics.cpu_used_pct,
    memory_total_in_mib: metrics.mem_total_mib,
    memory_used_in_mib: metrics.mem_used_mib,
    disk_total_mib: expect.any(Number),
    disk_used_mib: expect.any(Number),
    disk_free_mib: expect.any(Number),
    network_received_bytes: expect.any(Number),
    network_sent_bytes: expect.any(Number),
    process_count: expect.any(Number),
  })
}

/** A stream of samples, by the client's own hand. */
async function watch(): Promise<{ response: IncomingMessage; text: () => string }> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { 'X-EXECD-ACCESS-TOKEN': 'secret-token' }
    get(`${execd.url}/metrics/watch`, { headers }, resolve).once('error', reject)
  })
  onTestFinished(() => void response.destroy())
  let text = ''
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  response.on('error', () => {})
  return { response, text: () => text }
}

describe('GET /metrics', () => {
  test('answers numbers within their bounds', async () => {
    const response = await execd.call('/metrics')
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8')
    expectSound((await response.json()) as Metrics)
  })

  test('S5: answers well within the second that a sample would take', async () => {
    await read()
    const times: number[] = []
    for (let turn = 0; turn < 5; turn++) {
      const startedAt = performance.now()
      await read()
      times.push(performance.now() - startedAt)
    }
    expect(Math.min(...times)).toBeLessThan(500)
  })

  test('sees a busy CPU', async () => {
    await execd.run({ command: 'timeout 20 sh -c "while :; do :; done"', background: true })
    await until(async () => {
      const { cpu_used_pct, cpu_count } = await read()
      // At least most of one, as far as the machine's other users leave it to us.
      return cpu_used_pct > 20 / cpu_count
    }, 'the use of a CPU')
  })

  test('counts the processes', async () => {
    const before = (await read()).process_count ?? 0
    await execd.run({ command: 'for i in 1 2 3 4 5; do sleep 20 & done; sleep 20', background: true })
    await until(async () => ((await read()).process_count ?? 0) >= before + 5, 'five more processes')
  })
})

describe('GET /metrics/watch', () => {
  test('M2: sends a sample each second, a blank line after each', async () => {
    const { response, text } = await watch()
    expect(response.statusCode).toBe(200)
    expect(response.headers['content-type']).toBe('text/event-stream')
    const samples = () =>
      text()
        .split('\n\n')
        .slice(0, -1)
        .map((frame) => JSON.parse(frame) as Metrics)
    const gaps = () =>
      samples()
        .slice(1)
        .map(({ timestamp }, at) => timestamp - (samples()[at]?.timestamp ?? 0))
    // While the machine stands still there is none, and the one after may follow sooner.
    await until(
      async () => gaps().filter((gap) => gap > 900 && gap < 1500).length > 1,
      'samples at each second',
    )
    for (const sample of samples()) expectSound(sample)
    expect(gaps().reduce((sum, gap) => sum + gap, 0)).toBeGreaterThan(gaps().length * 900)
  })

  test('ends with the client, and nothing is read for nobody', async () => {
    const { response, text } = await watch()
    await until(async () => text() !== '', 'a sample')
    response.destroy()
    // What execd does from here on shows in how often it gives up the CPU by itself: a timer each second would.
    const switches = () =>
      Number(
        /^voluntary_ctxt_switches:\s+(\d+)$/m.exec(
          readFileSync(`/proc/${execd.process.pid}/status`, 'utf8'),
        )?.[1],
      )
    let last = { count: switches(), at: performance.now() }
    await until(async () => {
      const count = switches()
      if (count !== last.count) last = { count, at: performance.now() }
      return performance.now() - last.at > 1500
    }, 'execd to sleep')
  })

  test('M3: ends when execd does', async () => {
    await using other = await startDaemon()
    const response = await other.call('/metrics/watch')
    const text = response.text()
    await other.stop()
    expect(await text).toMatch(/^(\{.*\}\n\n)*$/)
  })
})
