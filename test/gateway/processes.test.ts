// Several gateways on one port, as the launcher starts them, and how one of them stops.

import { type ChildProcess, fork } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { instanceOf } from '../../lib/instance.ts'
import { freePort } from '../support/edge.ts'
import { FakeControl } from './fake-control.ts'
import { dial, exchange, head, startRaw } from './support.ts'

const MAIN = join(import.meta.dirname, '../../gateway/main.ts')
const STATUS = 'GET /status.ok HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'

async function startGateways(count: number) {
  const dataDir = mkdtempSync(join(tmpdir(), 'gateways-'))
  const config = join(dataDir, 'edge.toml')
  writeFileSync(config, `[front]\nprocesses = ${count}\ndrain_seconds = 60\n`)
  const instance = instanceOf(dataDir)
  mkdirSync(instance.runDir, { recursive: true, mode: 0o700 })
  const control = await new FakeControl(instance).start()
  const port = await freePort()
  const upstream = await startRaw()
  control.put({
    id: 'a',
    state: 'running',
    generation: 1,
    ports: { 8000: { host: '127.0.0.1', port: upstream.port } },
  })
  const children: { child: ChildProcess; ended: Promise<number | null> }[] = []
  onTestFinished(async () => {
    for (const { child } of children) child.kill('SIGKILL')
    await Promise.all(children.map(({ ended }) => ended))
    await control[Symbol.asyncDispose]()
    rmSync(instance.runDir, { recursive: true, force: true })
    rmSync(dataDir, { recursive: true, force: true })
  })
  const args = ['--data-dir', dataDir, '--config', config, '--port', String(port)]
  for (let at = 0; at < count; at++) {
    const child = fork(MAIN, args, {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent' },
    })
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve))
    children.push({ child, ended })
    await new Promise((resolve, reject) => {
      child.once('message', resolve)
      void ended.then(() => reject(new Error('It ended before it was ready')))
    })
  }
  return { children, port, upstream }
}

test('G6: two share a port; one that is told to stop lets what is under way end and takes nothing new', async () => {
  const { children, port, upstream } = await startGateways(2)
  // Which of them takes a connection is the kernel's choice, so there are enough for both to have one.
  const streams = Array.from({ length: 16 }, () => dial(port).send(head('GET /', 'Connection: close')))
  const peers = await Promise.all(streams.map((_, at) => upstream.peer(at)))
  for (const peer of peers) {
    await peer.read('\r\n\r\n')
    peer.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n')
  }
  for (const stream of streams) await stream.read('one')

  const [first, second] = children
  if (!first || !second) throw new Error('There are two')
  first.child.kill('SIGTERM')
  // The other one takes all that is new.
  let taken = 0
  while (taken < 8) {
    const text = await exchange(port, STATUS)
    if (text.includes('200 OK')) taken++
    else taken = 0
  }
  for (const peer of peers) peer.send('3\r\ntwo\r\n0\r\n\r\n')
  for (const stream of streams) expect(await stream.ended()).toContain('two')
  expect(await first.ended).toBe(0)
  second.child.kill('SIGTERM')
  expect(await second.ended).toBe(0)
})
