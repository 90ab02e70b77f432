import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { startDaemon } from './daemon.ts'

test.each([
  ['archive of 100 kB', '/directories/archive?format=tar&path=', 100_000],
  ['archive of 1 MiB', '/directories/archive?format=tar&path=', 1 << 20],
  // This one is not read piece by piece, but flows.
  ['command of 20 MiB', '/command?', 20 << 20],
])('a refused %s leaves its connection good for the next request', async (_what, path, size) => {
  await using execd = await startDaemon()
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  onTestFinished(() => agent.destroy())
  const ask = async (method: string, path: string, body?: Buffer) => {
    const headers = { 'X-EXECD-ACCESS-TOKEN': 'secret-token' }
    const outgoing = request(`${execd.url}${path}`, { method, headers, agent }).end(body)
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]
    await answer.toArray()
    return [answer.statusCode, outgoing.reusedSocket]
  }
  expect((await ask('POST', `${path}${execd.workdir}/refused`, Buffer.alloc(size, 'z')))[0]).toBe(400)
  expect(await ask('GET', '/commands')).toEqual([200, true])
})
