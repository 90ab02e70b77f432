// Traffic of sandboxes through the API server itself, where tenants are kept elsewhere: for those alone whose they are.

import { createServer, get as httpGet, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { createLogger } from '../../../lib/log.ts'
import { createSandbox, openControlOnPort } from '../../support/control-on-port.ts'

const NAMESPACES: Record<string, string> = { 'red-1': 'red', 'blue-1': 'blue' }
const TENANTS = {
  find: (key: string) => {
    const namespace = NAMESPACES[key]
    return namespace === undefined ? undefined : { name: namespace, namespace }
  },
  close: async () => {},
}

/** Control on a port, and a program in the place of every sandbox. */
async function open() {
  const program = createServer((_incoming, outgoing) => outgoing.end('from the sandbox'))
  new WebSocketServer({ server: program }).on('connection', (socket) => socket.send('hello'))
  await new Promise<void>((resolve) => program.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    program.closeAllConnections()
    program.close()
  })
  const lines: string[] = []
  const { control, port } = await openControlOnPort({
    accessSettings: { tenants: TENANTS },
    log: createLogger({ program: 'control', write: (line) => void lines.push(line) }),
  })
  const base = `127.0.0.1:${port}`
  const id = await createSandbox(`http://${base}`, 'red-1')
  const programPort = (program.address() as AddressInfo).port
  return {
    control,
    lines,
    base,
    programPort,
    proxy: `${base}/v1/sandboxes/${id}/proxy/${programPort}/`,
  }
}

/** Asks for a path as it is: `fetch` would resolve its dots. */
async function getRaw(base: string, path: string, key: string): Promise<{ status: number; text: string }> {
  const [host, port] = base.split(':')
  const answer = await new Promise<IncomingMessage>((resolve, reject) =>
    httpGet({ host, port, path, headers: keyHeader(key), agent: false }, resolve).on('error', reject),
  )
  let text = ''
  for await (const chunk of answer.setEncoding('utf8')) text += String(chunk)
  return { status: answer.statusCode ?? 0, text }
}

const keyHeader = (key: string | undefined) => (key === undefined ? {} : { 'open-sandbox-api-key': key })

test.each([
  [undefined, 401, 'MISSING_API_KEY'],
  ['wrong', 401, 'INVALID_API_KEY'],
  ['blue-1', 404, 'DOCKER::SANDBOX_NOT_FOUND'],
  ['red-1', 200, 'from the sandbox'],
])('S17: with the key %s a request is answered %i, and a WebSocket alike', async (key, status, expected) => {
  const { proxy } = await open()
  const answer = await fetch(`http://${proxy}`, { headers: keyHeader(key) })
  expect([answer.status, await answer.text()]).toEqual([status, expect.stringContaining(expected)])
  const socket = new WebSocket(`ws://${proxy}`, { headers: keyHeader(key) })
  const outcome = await new Promise<unknown>((resolve) => {
    socket.on('message', (data) => resolve(String(data)))
    socket.on('unexpected-response', (_request, response) => resolve(response.statusCode))
    socket.on('error', resolve)
  })
  socket.terminate()
  expect(outcome).toBe(status === 200 ? 'hello' : status)
})

test('settings that are read anew count for the next request, and one without any key opens nothing', async () => {
  const { control, base, lines } = await open()
  const status = async (key?: string) =>
    (await fetch(`http://${base}/v1/sandboxes`, { headers: keyHeader(key) })).status
  expect([await status('red-1'), await status('root-key')]).toEqual([200, 401])
  control.configure({ apiKey: 'root-key' })
  expect([await status('red-1'), await status('root-key')]).toEqual([401, 200])
  expect(lines.filter((line) => line.includes('no API key opens'))).toEqual([])
  control.configure({})
  expect([await status(), await status('root-key')]).toEqual([401, 401])
  expect(lines.filter((line) => line.includes('no API key opens'))).toHaveLength(1)
})

test('traffic that a provider of tenants has closed stays closed when the provider is taken out', async () => {
  const { control, proxy } = await open()
  control.configure({ apiKey: 'root-key' })
  const status = async (key?: string) => (await fetch(`http://${proxy}`, { headers: keyHeader(key) })).status
  expect([await status(), await status('red-1'), await status('root-key')]).toEqual([401, 401, 200])
})

test.each(['../../..', '%2e%2e/%2e%2E/.%2e', 'a/../../../..'])(
  'a path whose dots lead from a sandbox to one of another tenant (%s) leads to neither',
  async (dots) => {
    const { base, proxy, programPort } = await open()
    const victim = proxy.slice(base.length)
    const id = await createSandbox(`http://${base}/v1`, 'blue-1')
    const own = `${id}/proxy/${programPort}/`
    expect(await getRaw(base, `/v1/sandboxes/${own}`, 'blue-1')).toMatchObject({ status: 200 })
    const answer = await getRaw(base, `${victim}${dots}/${own}`, 'blue-1')
    expect(answer.status).toBe(404)
    expect(answer.text).not.toContain('from the sandbox')
  },
)
