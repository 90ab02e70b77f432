import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { startDaemon } from './daemon.ts'

test('a refused archive leaves its connection good for the next request', async () => {
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
  for (const size of [100_000, 1 << 20]) {
    const path = `/directories/archive?format=tar&path=${execd.workdir}/refused`
    expect((await ask('POST', path, Buffer.alloc(size, 'z')))[0]).toBe(400)
    expect(await ask('GET', '/commands')).toEqual([200, true])
  }
})
