// A sandbox that is closed to others, in the whole product: its token, signed endpoints and their keys, a link in a real browser, and
// what wakes it.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { ConnectionConfig, Sandbox } from '@alibaba-group/opensandbox'
import { type BrowserContext, chromium } from 'playwright-core'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { waitUntil } from '../support/wait-for.ts'

vi.setConfig({ testTimeout: 60_000 })

const keysOf = (active: string, ...keys: [id: string, base64: string][]) =>
  `[ingress]\nwake_on_request = "always"\n[ingress.secure_access]\nactive_key = "${active}"\n${keys
    .map(([id, key]) => `[[ingress.secure_access.keys]]\nkey_id = "${id}"\nkey = "${key}"\n`)
    .join('')}`
const APP = `
import http.server
class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ('<!doctype html><title>app</title><link rel="stylesheet" href="/style.css"><p id="cookie">%s</p>' % self.headers.get('Cookie')).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'text/css' if self.path.endswith('.css') else 'text/html')
        self.send_header('Set-Cookie', 'app=1')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(('', 8000), App).serve_forever()
`

let edge: Edge
let id: string
let headers: Record<string, string>

async function api(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const answer = await fetch(`${edge.url}/v1${path}`, {
    method,
    ...(body !== undefined && {
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    }),
  })
  const read = await answer.text()
  expect(answer.status, read).toBeLessThan(300)
  return read === '' ? {} : (JSON.parse(read) as Record<string, unknown>)
}

/** Asks by a host name, which programs cannot look up below localhost. */
async function get(host: string, path = '/', more: Record<string, string> = {}): Promise<number> {
  const asked = request({ port: edge.port, path, headers: { host: `${host}:${edge.port}`, ...more } })
  const answered = new Promise<number>((resolve, reject) => {
    asked
      .on('error', reject)
      .on('response', (answer) => void text(answer).then(() => resolve(answer.statusCode ?? 0)))
  })
  asked.end()
  return answered
}

const endpointOf = async (port: number, query = '') =>
  (await api('GET', `/sandboxes/${id}/endpoints/${port}${query}`)) as {
    endpoint: string
    headers?: Record<string, string>
  }
const inAnHour = () => `?expires=${Math.floor(Date.now() / 1000) + 3600}`

beforeAll(async () => {
  edge = await startEdge({ config: keysOf('a', ['a', 'b2xk']) })
  const made = await api('POST', '/sandboxes', {
    image: { uri: 'host' },
    entrypoint: ['python3', '-c', APP],
    resourceLimits: {},
    secureAccess: true,
  })
  id = String(made.id)
  headers = (await endpointOf(8000)).headers ?? {}
  await waitUntil(async () => (await get(`${id}-8000.localhost`, '/', headers)) === 200)
})

afterAll(() => edge?.dispose())

test('S16: the token opens it, and without it nothing is open', async () => {
  expect(await get(`${id}-8000.localhost`)).toBe(401)
  expect(await get('localhost', `/sandboxes/${id}/proxy/8000/`)).toBe(401)
  const { endpoint, headers: ofExecd = {} } = await endpointOf(44772)
  expect((await fetch(`http://${endpoint}/ping`, { headers: ofExecd })).status).toBe(200)
  const { 'OpenSandbox-Secure-Access': _, ...without } = ofExecd
  expect((await fetch(`http://${endpoint}/ping`, { headers: without })).status).toBe(401)
})

test('the published SDK works with one, by what its endpoints tell', async () => {
  const connectionConfig = new ConnectionConfig({ domain: `127.0.0.1:${edge.port}` })
  const sandbox = await Sandbox.create({ connectionConfig, image: 'host', secureAccess: true })
  try {
    const { logs } = await sandbox.commands.run('echo in')
    expect(logs.stdout.map((line) => line.text).join('')).toContain('in')
    expect(await get(`${sandbox.id}-44772.localhost`, '/ping')).toBe(401)
  } finally {
    await sandbox.kill()
    await sandbox.close()
  }
})

test('a signed endpoint opens its port, but not what has a token of its own', async () => {
  const signed = await endpointOf(8000, inAnHour())
  expect(signed).not.toHaveProperty('headers')
  expect((await fetch(`http://${signed.endpoint}/x`)).status).toBe(200)
  expect((await fetch(`http://${signed.endpoint.replace('/8000/', '/8001/')}/`)).status).toBe(401)
  const execd = await endpointOf(44772, inAnHour())
  expect(execd.headers).not.toHaveProperty('OpenSandbox-Secure-Access')
  expect((await fetch(`http://${execd.endpoint}/command`, { method: 'POST', body: '{}' })).status).toBe(401)
})

test('a link opens in a browser, leaves the address bar, and is no concern of the app', async () => {
  const { url, id: share } = await api('POST', `/sandboxes/${id}/shares`, {
    port: 8000,
    once: true,
    path: '/',
  })
  const profile = mkdtempSync(join(tmpdir(), 'chromium-'))
  const open = (folder: string): Promise<BrowserContext> =>
    chromium.launchPersistentContext(folder, { executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })
  const browser = await open(profile)
  try {
    const page = browser.pages()[0] ?? (await browser.newPage())
    const styles: number[] = []
    page.on('response', (answer) => {
      if (answer.url().endsWith('.css')) styles.push(answer.status())
    })
    expect((await page.goto(String(url)))?.status()).toBe(200)
    expect(page.url()).toBe(`http://${id}-8000.localhost:${edge.port}/`)
    expect(styles).toEqual([200])
    expect(await page.textContent('#cookie')).toBe('None')
    await page.reload()
    expect(await page.textContent('#cookie')).toBe('app=1')
    expect(await page.evaluate('document.cookie')).toBe('app=1')
    // The same person may follow the link again.
    expect((await page.goto(String(url)))?.status()).toBe(200)
    // Another port of the sandbox is not opened by it.
    expect((await page.goto(`http://${id}-8001.localhost:${edge.port}/`))?.status()).toBe(401)
    expect(await page.textContent('h1')).toBe('This sandbox opens only to those who were let in')
    await browser.clearCookies()
    expect((await page.goto(String(url)))?.status()).toBe(404)
    expect(await page.textContent('h1')).toBe('This link does not open anything')
  } finally {
    await browser.close()
    rmSync(profile, { recursive: true, force: true })
  }
  await api('DELETE', `/sandboxes/${id}/shares/${share}`)
  expect(await api('GET', `/sandboxes/${id}/shares`)).toEqual({ items: [] })
})

test('a request of who may come in wakes it, and of nobody else', async () => {
  const stateOf = async () => ((await api('GET', `/sandboxes/${id}`)).status as { state: string }).state
  await api('POST', `/sandboxes/${id}/pause`)
  expect(await get(`${id}-8000.localhost`)).toBe(401)
  expect(await get(`${id}-8000.localhost`, '/', { ...headers, 'OpenSandbox-Access-Renew': 'skip' })).toBe(409)
  expect(await stateOf()).toBe('Paused')
  const answers = await Promise.all([1, 2, 3].map(() => get(`${id}-8000.localhost`, '/', headers)))
  expect(answers).toEqual([200, 200, 200])
  expect(await stateOf()).toBe('Running')
})

test('a key is replaced while it runs: the old one holds until it is taken out', async () => {
  const { endpoint } = await endpointOf(8000, inAnHour())
  const reload = async (config: string) => {
    const told = edge.output().match(/was read again/g)?.length ?? 0
    writeFileSync(edge.configFile, config)
    process.kill(edge.launcherPid, 'SIGHUP')
    await edge.waitForOutput(new RegExp(`(was read again changed=[^]*){${told + 1}}`))
  }
  await reload(keysOf('b', ['a', 'b2xk'], ['b', 'bmV3']))
  const next = await endpointOf(8000, inAnHour())
  expect(next.endpoint.at(-1)).toBe('b')
  await waitUntil(async () => (await fetch(`http://${next.endpoint}/`)).status === 200)
  expect((await fetch(`http://${endpoint}/`)).status).toBe(200)
  await reload(keysOf('b', ['b', 'bmV3']))
  await waitUntil(async () => (await fetch(`http://${endpoint}/`)).status === 401)
  expect((await fetch(`http://${next.endpoint}/`)).status).toBe(200)
})

test('G17: what passes the gateway is counted, and what is under way is told', async () => {
  const metrics = await (await fetch(`${edge.url}/metrics`)).text()
  expect(metrics).toMatch(/^opensandbox_gateway_requests_total\{to="app",status="2xx"\} [1-9]/m)
  expect(metrics).toMatch(/^opensandbox_gateway_wakes_total\{outcome="woken"\} [1-9]/m)
  const { endpoint, headers: ofExecd } = await endpointOf(44772)
  const stream = await fetch(`http://${endpoint}/metrics/watch`, { headers: ofExecd ?? {} })
  const { items } = await api('GET', `/admin/connections?sandbox=${id}`)
  expect(items).toEqual([
    expect.objectContaining({ sandboxId: id, port: 44772, kind: 'request', client: '127.0.0.1' }),
  ])
  await stream.body?.cancel()
})

test('G4: nothing that opens it was written to the log', async () => {
  const { endpoint } = await endpointOf(8000, inAnHour())
  await fetch(`http://${endpoint}/`)
  const log = edge.output()
  expect(log).toContain('sandbox runs')
  for (const secret of [...Object.values(headers), endpoint.slice(-9), 'oss_'])
    expect(log).not.toContain(secret)
})
