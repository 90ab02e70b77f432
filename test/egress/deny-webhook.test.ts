import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { createDenyWebhook, signatureOf } from '../../egress/deny-webhook.ts'
import { createLogger } from '../../lib/log.ts'

type Got = { body: string; headers: IncomingMessage['headers'] }

async function setup({ statuses = [], secret }: { statuses?: number[]; secret?: string } = {}) {
  const got: Got[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      got.push({ body, headers: request.headers })
      response.writeHead(statuses.shift() ?? 204).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const lines: string[] = []
  const controller = new AbortController()
  onTestFinished(() => controller.abort())
  let now = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
  const sender = createDenyWebhook({
    webhook: {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
      ...(secret !== undefined && { secret }),
    },
    log: createLogger({ program: 'test', write: (line) => void lines.push(line) }),
    signal: controller.signal,
    now: () => now,
    retryMs: [1, 1, 1],
  })
  const later = (ms: number) => {
    now += ms
  }
  return { got, sender, lines, later }
}
const denied = (hostname: string, sandboxId = 'sb') => ({ hostname, sandboxId })

test('O7: a denied name is told with its sandbox, as the contract has it', async () => {
  const { got, sender } = await setup()
  sender.tell(denied('bad.example'))
  await expect.poll(() => got).toHaveLength(1)
  expect(JSON.parse(got[0]?.body ?? '')).toEqual({
    hostname: 'bad.example',
    timestamp: '2026-01-02T03:04:05Z',
    source: 'opensandbox-egress',
    sandboxId: 'sb',
  })
  expect(got[0]?.headers['content-type']).toBe('application/json')
  expect(got[0]?.headers).not.toHaveProperty('x-opensandbox-signature')
})

test('O5: the same name of the same sandbox is told once a minute', async () => {
  const { got, sender, later } = await setup()
  for (let count = 0; count < 5; count++) sender.tell(denied('bad.example'))
  sender.tell(denied('bad.example', 'other'))
  await expect.poll(() => got).toHaveLength(2)
  later(60_000)
  sender.tell(denied('bad.example'))
  await expect.poll(() => got).toHaveLength(3)
  expect(sender.counts.repeated).toBe(4)
})

test('O5: a message is signed, so that its receiver can tell whose it is', async () => {
  const { got, sender } = await setup({ secret: 'shared' })
  sender.tell(denied('bad.example'))
  await expect.poll(() => got).toHaveLength(1)
  const { body = '', headers } = got[0] ?? {}
  expect(headers?.['x-opensandbox-signature']).toBe(signatureOf('shared', 1767323045, body))
  expect(signatureOf('k', 1, '{}')).toBe(
    't=1,v1=3dd49b2593d0f9a349e9e71c4bde3e2b862c2be4003fe9b4ba81332029310158',
  )
})

test.each([
  [[500, 429, 204], 3, 1, 0],
  [[404], 1, 0, 1],
  [[301], 1, 0, 1],
  [[500, 500, 500, 500], 4, 0, 1],
])('O5: after %j there were %i attempts', async (statuses, attempts, sent, failed) => {
  const { got, sender, lines } = await setup({ statuses })
  sender.tell(denied('bad.example'))
  await expect.poll(() => sender.counts).toMatchObject({ sent, failed })
  expect(got).toHaveLength(attempts)
  expect(lines).toHaveLength(failed)
})

test('O5: when a receiver is too slow, what does not fit is dropped, that is said, and others are not kept back', async () => {
  const { got, sender, lines } = await setup({ statuses: [] })
  for (let count = 0; count < 1100; count++) sender.tell(denied(`n${count}.example`))
  // Half of the places, and those that are being sent.
  expect(sender.counts.dropped).toBe(1100 - 512 - 4)
  expect(lines).toHaveLength(1)
  sender.tell(denied('quiet.example', 'quiet'))
  expect(sender.counts.dropped).toBe(1100 - 512 - 4)
  await expect.poll(() => sender.counts.sent).toBe(517)
  const place = got.findIndex(({ body }) => body.includes('quiet.example'))
  expect(place).toBeGreaterThan(0)
  expect(place).toBeLessThan(16)
})
