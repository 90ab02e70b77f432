// Hooks of sandboxes on the real machine: what a caller of create hears of them, and that they run where the sandbox does.

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'

let edge: Edge
beforeAll(async () => {
  edge = await startEdge()
})
afterAll(() => edge?.dispose())

type Raw = {
  id: string
  code?: string
  message?: string
  status: { state: string; reason?: string; message?: string }
}

async function create(lifecycle: object, more: object = {}): Promise<{ status: number; body: Raw }> {
  const response = await fetch(`${edge.url}/v1/sandboxes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      image: { uri: 'host' },
      entrypoint: ['sleep', '1000'],
      resourceLimits: { cpu: '1', memory: '256Mi' },
      timeout: 600,
      lifecycle,
      ...more,
    }),
  })
  const body = (await response.json()) as Raw
  if (body.id) onTestFinished(async () => void (await remove(body.id)))
  return { status: response.status, body }
}

const get = async (id: string) => (await (await fetch(`${edge.url}/v1/sandboxes/${id}`)).json()) as Raw
const remove = (id: string) => fetch(`${edge.url}/v1/sandboxes/${id}`, { method: 'DELETE' })
const list = async () =>
  ((await (await fetch(`${edge.url}/v1/sandboxes`)).json()) as { items: Raw[] }).items.map(({ id }) => id)

/** What a command in the sandbox writes. */
async function run(id: string, command: string): Promise<string> {
  const found = await fetch(`${edge.url}/v1/sandboxes/${id}/endpoints/44772`)
  const { endpoint, headers } = (await found.json()) as { endpoint: string; headers: Record<string, string> }
  const response = await fetch(`http://${endpoint}/command`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ command }),
  })
  const events = (await response.text()).split('\n\n').filter((frame) => frame !== '')
  return events
    .map((frame) => JSON.parse(frame) as { type: string; text?: string })
    .filter(({ type }) => type === 'stdout')
    .map(({ text }) => text)
    .join('')
}

describe('a hook before the entrypoint', () => {
  test('has run when create is answered, as root of the sandbox and behind its policy', async () => {
    const { status, body } = await create({
      preStart: {
        command: [
          'sh',
          '-c',
          'id -u > /tmp/hook; pwd >> /tmp/hook; curl -sm 2 http://192.0.2.1/ || echo closed >> /tmp/hook',
        ],
      },
    })
    expect([status, body.status.state]).toEqual([202, 'Running'])
    expect(await run(body.id, 'cat /tmp/hook')).toBe('0\n/workspace\nclosed\n')
  })

  test('that fails is what create answers, and nothing is left of the sandbox', async () => {
    const before = await list()
    const { status, body } = await create({
      preStart: { command: ['sh', '-c', 'echo the database is not there >&2; exit 3'] },
    })
    expect(status).toBe(400)
    expect(body).toEqual({
      code: 'DOCKER::SANDBOX_START_FAILED',
      message:
        'The lifecycle hook "preStart" failed: it ended with code 3; its output:\nthe database is not there',
    })
    expect(await list()).toEqual(before)
  })

  test('that takes longer than an answer may is waited for, and its failure stands in the state', async () => {
    // Side by side, as each of them takes more than the twenty seconds after which create answers.
    const slow = (code: number) => ({
      preStart: { command: ['sh', '-c', `sleep 22; echo late; exit ${code}`], timeoutSeconds: 60 },
    })
    const [good, bad] = await Promise.all([create(slow(0)), create(slow(3))])
    for (const { status, body } of [good, bad]) expect([status, body.status.state]).toEqual([202, 'Pending'])
    await expect.poll(async () => (await get(good.body.id)).status.state).toBe('Running')
    await expect.poll(async () => (await get(bad.body.id)).status.state).toBe('Failed')
    expect((await get(bad.body.id)).status).toMatchObject({
      reason: 'PROVISIONING_ERROR',
      message: 'The lifecycle hook "preStart" failed: it ended with code 3; its output:\nlate',
    })
  }, 60_000)

  test('that is still running goes when the sandbox is deleted', async () => {
    const creating = create({ preStart: { command: ['sleep', '1000'], timeoutSeconds: 10_800 } })
    const id = await expect
      .poll(async () => (await list()).at(0))
      .toBeDefined()
      .then(async () => (await list())[0] ?? '')
    expect((await remove(id)).status).toBe(204)
    expect((await creating).status).toBe(409)
  })
})

test('hooks by schedule run while the sandbox does, and nobody in it sees the variable', async () => {
  const { body } = await create({
    periodic: [
      {
        name: 'tick',
        schedule: '@every 1s',
        command: ['sh', '-c', 'echo tick >> /tmp/ticks; env >> /tmp/env'],
      },
    ],
  })
  expect(body.status.state).toBe('Running')
  await expect.poll(() => run(body.id, 'cat /tmp/ticks')).toMatch(/^(tick\n){2,}$/)
  const environment = await run(body.id, 'cat /tmp/env; env; cat /proc/[0-9]*/environ | tr "\\0" "\\n"')
  expect(environment).toContain('PATH=')
  expect(environment).not.toContain('OPENSANDBOX_LIFECYCLE')
})
