// What a sandbox answers through this server is counted and logged once it is over, with the status that the client got.

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { createRequestScope, createScopedLogger } from '../../../control/observe/request-scope.ts'
import { createLogger } from '../../../lib/log.ts'
import { createSandbox, openControlOnPort } from '../../support/control-on-port.ts'

test.each([
  ['with a key', { apiKey: 'k' }],
  ['without one', {}],
])(
  'S8: a request that is passed on has its line and its sample, and a closed port tells nothing: %s',
  async (_what, accessSettings) => {
    const going = Promise.withResolvers<void>()
    const app = createServer(async (_request, response) => {
      response.writeHead(418)
      response.write('half')
      await going.promise
      response.end('whole')
    })
    app.listen(0, '127.0.0.1')
    await once(app, 'listening')
    onTestFinished(() => void app.close())
    const lines: string[] = []
    const scope = createRequestScope()
    const write = (line: string) => lines.push(line)
    const { base } = await openControlOnPort({
      accessSettings,
      scope,
      log: createScopedLogger(createLogger({ program: 'control', level: 'debug', write }), scope),
    })
    const id = await createSandbox(base, 'k')
    const { port } = app.address() as AddressInfo
    const response = await fetch(`${base}/sandboxes/${id}/proxy/${port}/a`, {
      headers: { 'x-request-id': 'r-proxied' },
    })
    const told = () => lines.filter((line) => / request .*\/proxy\//.test(line))
    expect(response.status).toBe(418)
    expect(told()).toEqual([])
    going.resolve()
    await response.text()
    await expect.poll(told).toEqual([expect.stringMatching(/status=418 .*requestId=r-proxied$/m)])
    const closed = await fetch(`${base}/sandboxes/${id}/proxy/1/`)
    const refused = await closed.text()
    expect([closed.status, JSON.parse(refused)]).toMatchObject([502, { code: 'BACKEND_CONNECTION_FAILED' }])
    // Where it is and what opens it is nobody's to learn from a port that is closed.
    expect(refused).not.toMatch(/127\.0\.0\.1|[0-9a-f]{64}|header/i)
    const metrics = await (
      await fetch(`${base}/metrics`, { headers: { 'open-sandbox-api-key': 'k' } })
    ).text()
    expect(metrics).toContain(
      'opensandbox_http_request_duration_seconds_count{method="GET",route="/sandboxes/:id/proxy/:port/*",status="418"} 1',
    )
  },
)
