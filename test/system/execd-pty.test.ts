// A terminal where it is used: in a sandbox with its system call filter and users of its own, through the gateway.

import type { Sandbox } from '@alibaba-group/opensandbox'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from '../execd/daemon.ts'
import { createPty, PtyClient, statusOf } from '../execd/pty/pty-client.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { type Execd, execdOf } from '../support/execd.ts'
import { createSandbox } from '../support/sandbox.ts'

let edge: Edge
let sandbox: Sandbox
let execd: Execd
beforeAll(async () => {
  edge = await startEdge()
  sandbox = await createSandbox(edge, { entrypoint: ['sleep', '1000'] })
  execd = await execdOf(edge, sandbox.id)
})
afterAll(async () => {
  await sandbox?.close()
  await edge?.dispose()
})

test('a shell has a terminal with job control, sizes and signals', async () => {
  const id = await createPty(execd, { cols: 100, rows: 30 })
  const client = await PtyClient.connect(execd, id, '', { cols: 100, rows: 30 })
  expect(await client.run('tty; stty size; id -u; ls -l /proc/self/fd')).toMatch(
    /\/dev\/pts\/\d+\r\n30 100\r\n0\r\n/,
  )
  expect(client.output).not.toContain('ptmx')
  client.resize(120, 40)
  expect(await client.run('stty size')).toContain('40 120')
  client.type('sleep 1000\r')
  await client.see(/sleep 1000\r\n/)
  // Until the program is in front, the key would reach the shell, which does not stop.
  await until(async () => {
    client.type('\x1a')
    return client.output.includes('Stopped')
  }, 'the stopped job')
  // A shell with a job that is stopped, as far as it knows, does not exit when it is told to.
  expect(await client.run('kill -KILL %1; wait %1; echo back at $((1+1))')).toContain('back at 2')
  client.ws.terminate()

  // It goes on without us, and is there when we come back.
  await expect.poll(async () => (await statusOf(execd, id)).connected).toBe(false)
  const again = await PtyClient.connect(execd, id)
  expect(again.output).toContain('back at 2')
  again.type('exit 4\r')
  expect(await again.text('exit')).toEqual({ type: 'exit', exit_code: 4 })
  expect(await again.closed).toEqual({ code: 1000, reason: 'process exited' })
})

test('another user has one as well, and opens it again by its name', async () => {
  const id = await createPty(execd, { uid: 12345, cwd: '/tmp', command: 'id -u; echo again > $(tty)' })
  const client = await PtyClient.connect(execd, id)
  await client.closed
  expect(client.output).toBe('12345\r\nagain\r\n')
})

test('megabytes come through in order', async () => {
  const id = await createPty(execd, { command: 'seq 1 500000' })
  const client = await PtyClient.connect(execd, id)
  await client.closed
  expect(client.output.split('\r\n').slice(0, -1)).toEqual(
    Array.from({ length: 500_000 }, (_, index) => String(index + 1)),
  )
})
