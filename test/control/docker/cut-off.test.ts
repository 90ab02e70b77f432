// A daemon that dies in the middle of an answer: whoever waits for the rest hears that it does not come.

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openEngine } from '../../../control/runtime/docker/engine.ts'

const VERSION = JSON.stringify({ ApiVersion: '1.47', MinAPIVersion: '1.24' })
const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'

/** Answers what every client asks first, and gives all else to `answer`. */
async function open(answer: (socket: Socket) => void) {
  const folder = mkdtempSync(join(tmpdir(), 'test-cut-off-'))
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (text) => {
      if (String(text).includes('/version ')) {
        socket.write(`${HEAD}Content-Length: ${VERSION.length}\r\n\r\n${VERSION}`)
      } else answer(socket)
    })
  })
  const socketPath = join(folder, 'docker.sock')
  await once(server.listen(socketPath), 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
    rmSync(folder, { recursive: true })
  })
  return await openEngine({ socketPath, timeoutMs: 600_000, signal: new AbortController().signal })
}

const GONE = { failure: 'unavailable', message: expect.stringContaining('does not answer') }

test.each([
  ['its head', `${HEAD}Content-Le`],
  ['its head, whole', `${HEAD}Content-Length: 100\r\n\r\n`],
  ['a body of known length', `${HEAD}Content-Length: 100\r\n\r\n{"ID":`],
  ['a chunk', `${HEAD}Transfer-Encoding: chunked\r\n\r\n64\r\n{"ID":`],
  ['a body between chunks', `${HEAD}Transfer-Encoding: chunked\r\n\r\n6\r\n{"ID":\r\n`],
])('an answer that is cut off behind %s is one that does not come', async (_, text) => {
  const engine = await open((socket) => socket.end(text))
  await expect(
    engine.call((abortSignal) => engine.docker.getContainer('a').inspect({ abortSignal })),
  ).rejects.toMatchObject(GONE)
})

test.each([
  ['has not begun', ''],
  ['has begun', `${HEAD}Content-Length: 100\r\n\r\n{"ID":`],
])('an answer that %s is waited for as long as it may take', async (_, text) => {
  const engine = await open((socket) => socket.write(text))
  const late = engine.call((abortSignal) => engine.docker.getContainer('a').inspect({ abortSignal }), {
    timeoutMs: 50,
  })
  await expect(late).rejects.toMatchObject({
    failure: 'unavailable',
    message: expect.stringContaining('within 0.05 seconds'),
  })
})
