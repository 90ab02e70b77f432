// What egress does for sandboxes beside filtering their packets, on the real kernel: the proxy, the record and its stream, the webhook.
// Needs root.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Guest, Lab, PRIVATE, PUBLIC, PUBLIC_TOO, run } from '../egress/network-lab.ts'

const allow = (...targets: string[]) => ({
  defaultAction: 'deny',
  egress: targets.map((target) => ({ action: 'allow', target })),
})

const lab = new Lab()
const hooked: string[] = []
const hook = createServer((request, response) => {
  let body = ''
  request.on('data', (chunk) => {
    body += chunk
  })
  request.on('end', () => {
    hooked.push(body)
    response.writeHead(204).end()
  })
})
let one: Guest

beforeAll(async () => {
  lab.zone.set('good.example', [PUBLIC])
  lab.zone.set('other.example', [PUBLIC_TOO])
  lab.zone.set('twin.example', [PUBLIC])
  lab.zone.set('inside.example', [PRIVATE])
  lab.zone.set('host.example', ['198.51.100.1'])
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve))
  lab.settings = `[egress.deny_webhook]\nurl = "http://127.0.0.1:${(hook.address() as AddressInfo).port}/"\n`
  await lab.open()
  one = await lab.addGuest(1)
  expect((await lab.register(one, allow('good.example', 'inside.example', 'host.example'))).status).toBe(204)
})
afterAll(async () => {
  await lab.close()
  hook.close()
})

test.each([
  ['http', '200 from 198.51.100.1'],
  ['socks5', '0 from 198.51.100.1'],
  ['url', 'url from 198.51.100.1'],
] as const)('an allowed name is reached through the proxy by %s', async (how, answer) => {
  expect(await one.askProxy(how, 'good.example:80', 'good.example')).toBe(answer)
})

test.each([
  ['another name', 'other.example:80', '403'],
  ['an address that no rule opens', `${PUBLIC}:80`, '403'],
  ['a name that leads to a private network', 'inside.example:80', '502'],
  ['a name that leads to this machine', 'host.example:22', '403'],
  ['the loopback address of the host', '127.0.0.1:80', '403'],
  ['DNS over TLS', 'good.example:853', '403'],
])('%s is not reached through the proxy', async (_, target, status) => {
  expect(await one.askProxy('http', target)).toMatch(new RegExp(`^${status} `))
})

test('N3: what is said in a tunnel must be the name that was asked for', async () => {
  expect(await one.askProxy('http', 'good.example:80', 'twin.example')).toBe('200 failed ECONNRESET')
  const events = JSON.parse((await lab.ask(one, 'events?limit=500')).body).events
  expect(events).toContainEqual(
    expect.objectContaining({
      kind: 'connection',
      verdict: 'deny',
      via: 'http',
      name: 'good.example',
      reason: expect.stringContaining('denied'),
    }),
  )
})

test('the proxy has a name, and no other port of its address is open', async () => {
  expect(await one.resolve('proxy.opensandbox.internal')).toEqual({ rcode: 0, data: [one.gateway] })
  expect(await one.dial(one.gateway, 3129)).toMatch(/^failed/)
})

test('a connection that an address rule opened through the proxy ends with the rule', async () => {
  expect((await lab.policy(one.id, 'PATCH', [{ action: 'allow', target: PUBLIC_TOO }])).status).toBe(200)
  const held = await one.hold(one.gateway, `say:CONNECT ${PUBLIC_TOO}:80 HTTP/1.1\r\n\r\n`, 3128)
  expect(await held.say('still')).toBe('echo still')
  expect((await lab.policy(one.id, 'PUT', allow('good.example'))).status).toBe(200)
  expect(await held.next()).toBe('failed ECONNRESET')
  held.end()
})

test('O5: the webhook is told of a denied name, by the host', async () => {
  await one.resolve('denied.example')
  await expect
    .poll(() => hooked.map((body) => JSON.parse(body)))
    .toContainEqual(
      expect.objectContaining({
        hostname: 'denied.example',
        source: 'opensandbox-egress',
        sandboxId: one.id,
      }),
    )
})

test('what egress counts is there for Prometheus', async () => {
  const { status, body } = await lab.admin('GET', '/metrics')
  expect(status).toBe(200)
  expect(body).toMatch(/opensandbox_egress_decisions_total\{kind="name",verdict="deny"\} [1-9]/)
  expect(body).toMatch(
    /opensandbox_egress_dns_query_duration_seconds_count\{[^}]*outcome="answered"[^}]*\} [1-9]/,
  )
  expect(body).toMatch(/opensandbox_egress_relayed_bytes_total\{direction="received"\} [1-9]/)
})

test('packets that are refused without an answer are in the record: those from other sources, and why the rest', async () => {
  const other = one.gateway.replace(/\d+$/, '200')
  await run('ip', '-n', one.namespace, 'address', 'add', `${other}/32`, 'dev', 'eth0')
  expect(await one.dial(PUBLIC, 80, 'tcp', other)).toBe('silent')
  expect(await one.dial('169.254.169.254', 80)).toMatch(/^failed/)
  const reasons = async () =>
    JSON.parse((await lab.ask(one, 'events?limit=500')).body).events.map(
      ({ address = '', reason }: { address?: string; reason: string }) => `${address} ${reason}`,
    )
  await expect
    .poll(reasons)
    .toEqual(
      expect.arrayContaining([
        ` it says that it comes from ${other}, which is not the sandbox's own`,
        '169.254.169.254 the address is closed (link-local) and no rule opens it',
      ]),
    )
})
