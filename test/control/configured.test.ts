// What an operator configures, seen through the API.

import { expect, onTestFinished, test } from 'vitest'
import { parsePublicAddress } from '../../lib/public-address.ts'
import { createControlApp, MINIMAL } from '../support/control-app.ts'

const mount = (path: string) => ({
  ...MINIMAL,
  volumes: [{ name: 'data', host: { path }, mountPath: '/data' }],
})

test.each([
  [['/'], '/srv/a', 202],
  [['/srv'], '/srv', 202],
  [['/srv/'], '/srv/a/b', 202],
  [['/srv'], '/srvx', 400],
  [['/srv'], '/srv/../etc', 400],
  [['/srv/a'], '/srv', 400],
  [[], '/srv', 400],
])(
  'L16: with storage.allowed_host_paths %j a mount of %s is answered %i',
  async (allowedHostPaths, path, status) => {
    const control = createControlApp({ life: { allowedHostPaths } })
    onTestFinished(control.close)
    const answer = await control.call('POST', '/v1/sandboxes', mount(path))
    expect([answer.status, answer.text]).toEqual([status, expect.any(String)])
    if (status === 400) expect(answer.body.code).toMatch(/^VOLUME::/)
  },
)

test.each([
  [undefined, 'localhost:8080'],
  ['edge.example', 'edge.example'],
  ['https://edge.example/base/', 'edge.example/base'],
])(
  'S18: with server.eip %s an endpoint through the server is below %s, and Host is what is left',
  async (eip, base) => {
    const read = eip === undefined ? {} : { eip: parsePublicAddress(eip) ?? '' }
    const control = createControlApp({ settings: read })
    onTestFinished(control.close)
    const made = await control.call('POST', '/v1/sandboxes', MINIMAL)
    const path = `/sandboxes/${String(made.body.id)}/endpoints/8000?use_server_proxy=true`
    const { body } = await control.call('GET', path)
    expect(body.endpoint).toBe(`${base}/sandboxes/${String(made.body.id)}/proxy/8000`)
  },
)
