import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { type Daemon, startDaemon } from './daemon.ts'

/** Asks over one connection for as long as it is good: with the status, whether it was used before. */
function oneConnection(execd: Daemon) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  onTestFinished(() => agent.destroy())
  return async (method: string, path: string, body?: Buffer) => {
    const headers = { 'X-EXECD-ACCESS-TOKEN': 'secret-token' }
    const outgoing = request(`${execd.url}${path}`, { method, headers, agent }).end(body)
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]
    await answer.toArray()
    return [answer.statusCode, outgoing.reusedSocket]
  }
}

test('a refused archive leaves its connection good for the next request', async () => {
  await using execd = await startDaemon()
  const ask = oneConnection(execd)
  for (const size of [100_000, 1 << 20]) {
    const path = `/directories/archive?format=tar&path=${execd.workdir}/refused`
    expect((await ask('POST', path, Buffer.alloc(size, 'z')))[0]).toBe(400)
    expect(await ask('GET', '/commands')).toEqual([200, true])
  }
})

test('a body that is refused for its size is taken to its end, and does not keep its client waiting', async () => {
  await using execd = await startDaemon()
  const ask = oneConnection(execd)
  expect((await ask('POST', '/command', Buffer.alloc(10 << 20, 'z')))[0]).toBe(400)
  // The client has no other connection, and gives up none that it still writes to.
  expect((await ask('GET', '/commands'))[0]).toBe(200)
})
