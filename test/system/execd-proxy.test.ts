// execd's proxy route and its telemetry where they run: in a sandbox, from the bundle, behind the gateway.

import type { Sandbox } from '@alibaba-group/opensandbox'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Edge, startEdge } from '../support/edge.ts'
import { createSandbox, run } from '../support/sandbox.ts'

// Answers with what it was asked, and keeps what is posted to it.
const PROGRAM = `
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/v1/metrics":
            open("/tmp/export", "wb").write(body)
        text = (self.command + " " + self.path + " " + str(dict(self.headers)) + " " + body.decode("latin1")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_GET = do_POST = answer
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 4318), Handler).serve_forever()
`

let edge: Edge
let sandbox: Sandbox
let url: string
let headers: Record<string, string>

beforeAll(async () => {
  edge = await startEdge()
  sandbox = await createSandbox(edge, {
    entrypoint: ['python3', '-c', PROGRAM],
    env: { HOST_IP: '127.0.0.1', OTEL_METRIC_EXPORT_INTERVAL: '300', OPENSANDBOX_ID: 'mine' },
  })
  const found = await sandbox.getEndpoint(44772)
  url = `http://${found.endpoint}`
  headers = { ...found.headers }
})

afterAll(async () => {
  await sandbox?.close()
  await edge?.dispose()
})

test('a program on the loopback is reached through execd, and never sees the token', async () => {
  const ask = () =>
    fetch(`${url}/proxy/4318/a%2Fb?c=d`, { method: 'POST', headers, body: 'hello' })
      .then((response) => response.text())
      .catch(() => '')
  await expect.poll(ask).toMatch(/^POST \/a%2Fb\?c=d .*hello$/)
  const token = headers['X-EXECD-ACCESS-TOKEN'] ?? ''
  expect(token).not.toBe('')
  expect(await ask()).not.toContain(token)
})

test('so is execd itself, streams included', async () => {
  const response = await fetch(`${url}/proxy/44772/command`, {
    method: 'POST',
    headers,
    body: '{"command":"echo through"}',
  })
  expect(await response.text()).toMatch(/"text":"through\\n"/)
})

test('telemetry goes to the collector that the environment names', async () => {
  await run(sandbox, 'true')
  const read = async () => (await run(sandbox, 'cat /tmp/export')).stdout
  await expect.poll(read).toContain('execd.execution.duration')
  expect(await read()).toContain('{"key":"sandbox_id","value":{"stringValue":"mine"}}')
})
