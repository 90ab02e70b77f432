// Control and egress on the wire between them: the real egress program, control's client for it, and the network policy route
// as clients see it. Needs root, because egress writes rules into the kernel.

import { type ChildProcess, execFile, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { createEgressClient } from '../../control/egress-client.ts'
import { instanceOf } from '../../lib/instance.ts'
import { createControlApp, MINIMAL } from '../support/control-app.ts'

const EGRESS = join(import.meta.dirname, '../../egress/main.ts')
const never = () => AbortSignal.timeout(20_000)

test('a policy is put in force, read and changed through both programs', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'control-egress-'))
  const instance = instanceOf(dataDir)
  const client = createEgressClient(instance)
  const child: ChildProcess = fork(EGRESS, ['--data-dir', dataDir], {
    env: { PATH: process.env.PATH, HOME: '/nonexistent' },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  onTestFinished(async () => {
    child.kill('SIGTERM')
    await ended
    await promisify(execFile)(process.execPath, [EGRESS, '--data-dir', dataDir, '--teardown'])
    rmSync(dataDir, { recursive: true, force: true })
    rmSync(instance.runDir, { recursive: true, force: true })
  })
  await client.waitUntilReady(20_000, never())
  const network = await client.network(never())
  expect(network.interfacePrefix).toBe(instance.interfacePrefix)

  const control = createControlApp({
    askEgress: client.askPolicy,
    openEgressStream: client.openPolicyStream,
    formatEgressMetrics: client.formatMetrics,
  })
  onTestFinished(control.close)
  const made = await control.call('POST', '/v1/sandboxes', {
    ...MINIMAL,
    networkPolicy: { egress: [{ action: 'allow', target: 'a.example' }] },
  })
  const row = control.store.get(String(made.body.id))
  if (!row?.networkPolicy) throw new Error('The policy of the create was not kept')
  const path = `/v1/sandboxes/${row.id}/networkpolicy`
  // Before the runtime has registered it, there is nothing to read.
  expect((await control.call('GET', path)).status).toBe(409)

  const [first, second] = network.subnet.split('.')
  await client.register(
    row.id,
    {
      address: `${first}.${second}.0.10`,
      interface: `${network.interfacePrefix}test0001`,
      policy: row.networkPolicy,
      token: row.egressToken,
    },
    never(),
  )
  expect((await client.list(never())).map(({ id }) => id)).toEqual([row.id])
  const read = await control.call('GET', path)
  expect([read.status, read.body]).toEqual([
    200,
    expect.objectContaining({
      status: 'ok',
      mode: 'enforcing',
      policy: { defaultAction: 'deny', egress: [{ action: 'allow', target: 'a.example' }] },
    }),
  ])
  const explained = await control.call('GET', `${path}/explain?target=a.example`)
  expect([explained.status, explained.body]).toEqual([
    200,
    { target: 'a.example', kind: 'name', action: 'allow', reason: 'rule 0', rule: 'a.example' },
  ])
  expect((await control.call('GET', `${path}/explain`)).status).toBe(400)
  const streamed = await control.app.request(`http://localhost:8080${path}/events/stream`)
  expect([streamed.status, streamed.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
  const reader = streamed.body?.getReader()
  expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe('retry: 2000\n: open\n\n')
  await reader?.cancel()
  expect((await control.call('GET', `${path}/events/stream?after=x`)).status).toBe(400)
  expect((await control.call('GET', '/metrics')).text).toMatch(/\nopensandbox_egress_sandboxes 1\n/)
  const patched = await control.call('PATCH', path, [{ action: 'allow', target: 'b.example' }])
  expect(patched.status).toBe(200)
  expect((await control.call('DELETE', path, ['a.example'])).status).toBe(200)
  expect((await control.call('GET', path)).body.policy).toEqual({
    defaultAction: 'deny',
    egress: [{ action: 'allow', target: 'b.example' }],
  })
  const bad = await control.call('PUT', path, { defaultAction: 'maybe' })
  expect([bad.status, bad.body]).toEqual([
    400,
    { code: expect.any(String), message: expect.stringContaining('defaultAction') },
  ])

  await client.unregister(row.id, never())
  await client.unregister(row.id, never())
  expect(await client.list(never())).toEqual([])
  await expect(
    client.register('../x', { address: '1.2.3.4', interface: 'x', token: 'y' }, never()),
  ).rejects.toThrow('refused PUT')
})
