import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { createPodApi, limitFromWithin } from '../../../egress/sidecar/pod-api.ts'

test('B4: it is not well until the packet rules are in place, whatever is asked', async () => {
  const { fetch } = createPodApi('pod')
  for (const path of ['/healthz', '/policy', '/']) {
    const response = await fetch(new Request(`http://pod:18080${path}`))
    expect([response.status, await response.text()]).toEqual([503, 'the packet rules are not in place yet\n'])
  }
})

test('O8: the workload cannot take all connections', async () => {
  const server = createServer()
  limitFromWithin(server, (address) => address === '127.0.0.1')
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const dial = (from: string) =>
    new Promise<'open' | 'closed'>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port, localAddress: from })
      onTestFinished(() => void socket.destroy())
      socket.on('error', () => resolve('closed')).on('close', () => resolve('closed'))
      // Who is let in gets an answer to what is no request.
      socket.on('data', () => resolve('open'))
      socket.write('x\r\n\r\n')
    })
  const held = () =>
    new Promise<void>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port, localAddress: '127.0.0.1' }, resolve)
      onTestFinished(() => void socket.destroy())
    })
  await Promise.all(Array.from({ length: 64 }, held))
  expect(await dial('127.0.0.1')).toBe('closed')
  expect(await dial('127.0.0.2')).toBe('open')
})
