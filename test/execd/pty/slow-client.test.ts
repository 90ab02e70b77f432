// Clients that do not take what they are sent, or say nothing, and programs that do not take what is typed.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { until } from '../daemon.ts'
import { createPty, openSocket, PtyClient, type PtyServer, refusal, statusOf } from './pty-client.ts'
import { startPtyServer } from './pty-server.ts'

const LINES = 400_000
/** More than sockets and all our buffers hold; each line has its number. */
const flood = (flag: string) =>
  `read go; seq -f '%09.0f 012345678901234567890123456789' ${LINES}; : > ${flag}; read end`
const LINE_BYTES = 42
const FLOOD_BYTES = LINES * LINE_BYTES

async function startFlood(server: PtyServer & { dir: string }) {
  const flag = join(server.dir, 'flooded')
  const id = await createPty(server, { command: flood(flag) })
  const client = await PtyClient.connect(server, id)
  return { id, client, isOver: async () => existsSync(flag) }
}

test('Y3: a client that takes nothing stalls its program only for a moment, and sees the end of it when it reads again', async () => {
  const server = await startPtyServer({ limits: { holdMs: 300 } })
  const { id, client, isOver } = await startFlood(server)
  client.type('go\n')
  await client.see(/go/)
  client.ws.pause()
  await until(isOver, 'the end of the flood')
  client.ws.resume()
  await client.see(new RegExp(`${LINES} 0123456789.*\\r\\n$`))
  // What it has missed is where the numbers say, and nothing else is missing.
  let offset = 0
  const skips: number[] = []
  for (const frame of client.frames) {
    if (frame.kind === 'replay') {
      if (frame.offset !== offset) skips.push(frame.offset)
      offset = frame.offset
    }
    if (frame.kind !== 'text') offset += frame.bytes.length
  }
  expect(offset).toBe((await statusOf(server, id)).output_offset)
  expect(skips.length).toBeGreaterThan(0)
  expect(client.bytes().length).toBeLessThan(FLOOD_BYTES)
  // Typing works as before.
  client.type('end\n')
  expect(await client.text('exit')).toMatchObject({ exit_code: 0 })
})

test('Y3: a client that is slow, but not too slow, gets every byte', async () => {
  const server = await startPtyServer({ limits: { holdMs: 5000 } })
  const { client, isOver } = await startFlood(server)
  client.type('go\n')
  await client.see(/go/)
  let isOn = true
  const turns = setInterval(() => {
    isOn = !isOn
    if (isOn) client.ws.resume()
    else client.ws.pause()
  }, 20)
  await until(isOver, 'the end of the flood')
  clearInterval(turns)
  client.ws.resume()
  await client.see(new RegExp(`${LINES} 0123456789.*\\r\\n$`))
  expect(client.frames.some((frame) => frame.kind === 'replay')).toBe(false)
  expect(client.bytes().length).toBe(FLOOD_BYTES + 'go\r\n'.length)
})

test('Y4: a viewer that takes nothing holds up nobody', async () => {
  const server = await startPtyServer({ limits: { holdMs: 60_000 } })
  const { id, client, isOver } = await startFlood(server)
  const viewer = await PtyClient.connect(server, id, '?view=1')
  viewer.ws.pause()
  client.type('go\n')
  await until(isOver, 'the end of the flood')
  await client.see(new RegExp(`${LINES} 0123456789.*\\r\\n$`))
  expect(client.bytes().length).toBe(FLOOD_BYTES + 'go\r\n'.length)
  viewer.ws.resume()
  await viewer.see(new RegExp(`${LINES} 0123456789.*\\r\\n$`))
})

test('Y3: a client that takes nothing for long is gone, though it sends and sends', async () => {
  const server = await startPtyServer({ times: { pingMs: 50, silenceMs: 400 }, limits: { holdMs: 100 } })
  const { id, client, isOver } = await startFlood(server)
  client.type('go\n')
  await client.see(/go/)
  client.ws.pause()
  const sending = setInterval(() => client.send({ type: 'ping' }), 20)
  await until(isOver, 'the end of the flood')
  await until(async () => !(await statusOf(server, id)).connected, 'the end of the connection')
  clearInterval(sending)
  await PtyClient.connect(server, id)
})

test('a client that asks and asks without reading the answers does not fill the memory', async () => {
  const server = await startPtyServer()
  const id = await createPty(server, { command: 'read end' })
  const client = await PtyClient.connect(server, id)
  client.ws.pause()
  const text = JSON.stringify({ type: 'x'.repeat(40) })
  await until(async () => {
    for (let count = 0; count < 5000 && client.ws.bufferedAmount < 1 << 20; count++) client.ws.send(text)
    return !(await statusOf(server, id)).connected
  }, 'the end of the connection')
})

test('pings every while, and lets go of a client that says nothing', async () => {
  const server = await startPtyServer({ times: { pingMs: 30, silenceMs: 300 } })
  const id = await createPty(server, { command: 'read end' })
  const silent = new PtyClient(openSocket(server, id, '', { autoPong: false }))
  let pings = 0
  silent.ws.on('ping', () => pings++)
  await silent.text('connected')
  expect((await refusal(server, id)).status).toBe(409)
  expect((await silent.closed).code).toBe(1006)
  expect(pings).toBeGreaterThan(2)
  // One that answers stays, well beyond that time.
  const answering = await PtyClient.connect(server, id)
  let answered = 0
  answering.ws.on('ping', () => answered++)
  await until(async () => answered > 20, 'twenty pings')
  expect(answering.ws.readyState).toBe(WebSocket.OPEN)
})

test('lets go of nobody because everything stood still', async () => {
  const server = await startPtyServer({ times: { pingMs: 50, silenceMs: 300 } })
  const id = await createPty(server, { command: 'read end' })
  const client = await PtyClient.connect(server, id)
  let pings = 0
  client.ws.on('ping', () => pings++)
  await until(async () => pings > 0, 'a ping')
  // As a paused sandbox does, and its clock goes on.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600)
  const before = pings
  await until(async () => pings > before + 1, 'two more')
  expect(client.ws.readyState).toBe(WebSocket.OPEN)
})

test('what is typed for a program that does not read waits for a while, and then is refused; a signal still gets through', async () => {
  const server = await startPtyServer({ limits: { inputMs: 200 } })
  const id = await createPty(server, { command: `stty -echo; echo ready; sleep 1000; echo woken` })
  const client = await PtyClient.connect(server, id)
  await client.see(/ready/)
  const piece = Buffer.from(`${'x'.repeat(99)}\n`.repeat(1000))
  for (let count = 0; count < 40; count++) client.type(piece)
  const error = await client.text('error')
  expect(error).toMatchObject({ code: 'STDIN_WRITE_FAILED' })
  expect(error.error).toContain('does not read')
  client.send({ type: 'signal', signal: 'SIGINT' })
  expect(await client.text('exit')).toMatchObject({ exit_code: -1, signal: 'SIGINT' })
})

test('what is typed on pipes waits as well, and a program that reads late gets it all', async () => {
  const server = await startPtyServer()
  const go = join(server.dir, 'go')
  const id = await createPty(server, { command: `until [ -e ${go} ]; do sleep 0.05; done; wc -c` })
  const client = await PtyClient.connect(server, id, '?pty=0')
  for (let count = 0; count < 40; count++) client.type(Buffer.alloc(100_000, 'x'))
  client.send({ type: 'eof' })
  // Held back, the client cannot even ask.
  client.send({ type: 'ping' })
  await server.call('/pty')
  expect(client.frames).toHaveLength(1)
  const other = await createPty(server, { command: `: > ${go}` })
  await (await PtyClient.connect(server, other)).closed
  await client.see(/^4000000\n$/)
  expect(await client.text('exit')).toMatchObject({ exit_code: 0 })
})
