// Egress as the sidecar of a pod, in the network that it shares with its workload. Needs root, namespaces and control groups.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isNetworkOfMachine } from '../../egress/sidecar/network-of-machine.ts'
import { run } from '../egress/network-lab.ts'
import { METADATA, OUTSIDE, POD, PodLab, PRIVATE, PUBLIC, PUBLIC_TOO, TOKEN } from '../egress/pod-lab.ts'
import { pythonWithSdk } from '../support/python-sdk.ts'

const why = PodLab.whyNot()
if (why !== undefined) console.log(`egress as a sidecar is not tested: it ${why}`)
const allow = (...targets: string[]) => ({
  defaultAction: 'deny',
  egress: targets.map((target) => ({ action: 'allow', target })),
})
/** More than one kernel, and one program, would refuse before any rule does. */
const REFUSED = /^failed E(CONNREFUSED|CONNRESET|PERM|HOSTUNREACH|ACCES)/
const NETWORK_OF_MACHINE = join(import.meta.dirname, '../../egress/sidecar/network-of-machine.ts')
const SECRET = 'a-secret-of-the-pod'

describe.skipIf(why !== undefined)('egress as the sidecar of a pod', () => {
  const lab = new PodLab()
  const env = {
    OPENSANDBOX_EGRESS_RULES: JSON.stringify(allow('good.example')),
    OPENSANDBOX_EGRESS_MITMPROXY_TRANSPARENT: 'true',
    OPENSANDBOX_EGRESS_MITMPROXY_EXTRA_PORTS: '8081',
  }

  beforeAll(async () => {
    await lab.open()
    await lab.start(env)
  }, 60_000)
  afterAll(() => lab.close())

  test('O14: the network of a pod is told from that of the machine', async () => {
    const look = `import { isNetworkOfMachine } from '${NETWORK_OF_MACHINE}'; console.log(isNetworkOfMachine())`
    expect((await lab.run([process.execPath, '--input-type=module', '-e', look])).trim()).toBe('false')
    expect(isNetworkOfMachine((path) => path === '/proc/sys/net/core/netdev_max_backlog')).toBe(true)
  })

  test('B10: a name opens its address to who names it, whoever runs it, and nothing else', async () => {
    expect(await lab.dial(PUBLIC, 80, 'http:good.example')).toMatch(REFUSED)
    expect(await lab.resolve('other.example')).toEqual({ rcode: 3, data: [] })
    expect(await lab.resolve('good.example')).toEqual({ rcode: 0, data: [PUBLIC] })
    expect(await lab.dial(PUBLIC, 80, 'http:good.example')).toBe(`open from ${POD}`)
    expect(await lab.dial(PUBLIC, 80, 'http:twin.example')).toBe('failed ECONNRESET')
    expect(await lab.dial(PUBLIC, 80, 'tls:twin.example')).toBe('failed ECONNRESET')
    expect(await lab.dial(PUBLIC, 80, 'say:SSH-2.0-client\r\n')).toBe('failed ECONNRESET')
    expect(await lab.dial(PUBLIC, 80, 'udp')).toMatch(REFUSED)
    expect(await lab.dial(PUBLIC_TOO, 80, 'http:good.example')).toMatch(REFUSED)
    // Nobody passes by an id of a user.
    for (const uid of [10_042, 1000]) {
      const curl = ['curl', '-sS', '-m', '2', `http://${PUBLIC_TOO}/`]
      await expect(lab.run(curl, uid)).rejects.toThrow('curl: (7)')
    }
    expect(lab.asked.map((line) => line.split(' ')[0])).toEqual(['good.example'])
  })

  test('names are answered by egress whatever server is asked, and by no other way', async () => {
    for (const server of [PUBLIC_TOO, '192.0.2.1', '127.0.0.53', POD])
      expect(await lab.resolve('good.example', server)).toEqual({ rcode: 0, data: [PUBLIC] })
    expect(await lab.resolve('good.example', '192.0.2.1', 'tcp')).toEqual({ rcode: 0, data: [PUBLIC] })
    expect(await lab.resolve('other.example', '192.0.2.1', 'tcp')).toEqual({ rcode: 3, data: [] })
    await lab.setPolicy({ defaultAction: 'allow', egress: [] })
    expect(await lab.dial(PUBLIC, 853)).toMatch(REFUSED)
    await lab.setPolicy(allow('good.example', 'inner.example'))
    // It leads to a private address, which no name opens.
    expect(await lab.resolve('inner.example')).toEqual({ rcode: 0, data: [] })
  })

  test('B1: a port that egress has just used to ask a name server is no way to that server', async () => {
    const ask = `
import socket, sys
query = b'\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\6secret\\5other\\7example\\0\\0\\1\\0\\1'
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
one.bind(('', int(sys.argv[1])))
one.settimeout(3)
one.sendto(query, ('${OUTSIDE}', 53))
print(one.recv(512)[3] & 15)`
    const port = lab.asked.at(-1)?.split(' ')[1] ?? ''
    expect((await lab.run(['python3', '-c', ask, port])).trim()).toBe('3')
    expect(lab.asked.filter((line) => line.startsWith('secret'))).toEqual([])
  })

  test('B2: nobody in the pod answers for the server that egress has asked', async () => {
    await lab.setPolicy(allow('silent.example'))
    const answered = lab.resolve('silent.example')
    const portOf = () => lab.asked.find((line) => line.startsWith('silent'))?.split(' ')[1] ?? ''
    await expect.poll(portOf).not.toBe('')
    for (const host of ['127.0.0.1', POD])
      await expect(lab.run(['python3', '-c', CALL, host, portOf(), 'udp'])).rejects.toThrow(/Errno 1[13]/)
    expect(await answered).not.toHaveProperty('rcode', 0)
  })

  test('B2 B6: the workload can take no mark, no raw socket and no rule away', async () => {
    const refused = async (...command: string[]) =>
      expect(lab.run(command)).rejects.toThrow(/not permitted|PermissionError/)
    await refused('nft', 'flush', 'ruleset')
    await refused('nft', 'list', 'ruleset')
    await refused('ip', 'route', 'add', '192.0.2.0/24', 'via', OUTSIDE)
    await refused('ip', 'rule', 'add', 'pref', '1', 'lookup', 'main')
    const python = (code: string) => ['python3', '-c', `import socket; ${code}`]
    await refused(...python('socket.socket().setsockopt(socket.SOL_SOCKET, 36, 1)'))
    await refused(...python('socket.socket().setsockopt(socket.SOL_IP, 19, 1)'))
    await refused(...python('socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)'))
    await refused(...python('socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'))
    // An interface may be named without any right, and leads nowhere else.
    const bound = (name: string, address: string) =>
      lab.run(
        python(
          `s = socket.socket(); s.settimeout(2); s.setsockopt(socket.SOL_SOCKET, 25, b"${name}\\0"); s.connect(("${address}", 80))`,
        ),
      )
    await expect(bound('eth0', PUBLIC_TOO)).rejects.toThrow('ConnectionRefusedError')
    await expect(bound('lo', PUBLIC_TOO)).rejects.toThrow(/Error/)
  })

  test('N1 N2: addresses are closed until a rule opens them, IPv6 always', async () => {
    await lab.setPolicy({ defaultAction: 'allow', egress: [{ action: 'deny', target: 'twin.example' }] })
    expect(await lab.dial(PRIVATE)).toMatch(REFUSED)
    expect(await lab.dial(METADATA)).toMatch(REFUSED)
    expect(await lab.dial(PUBLIC, 80, 'http:good.example')).toMatch(/^open/)
    // A denied name is not reached by an address that is open.
    expect(await lab.dial(PUBLIC, 80, 'http:twin.example')).toBe('failed ECONNRESET')
    const count = await countIpv6(lab)
    expect(await lab.dial('fd00:77::1')).toMatch(REFUSED)
    expect(await count()).toBe(0)
    const events = async () => {
      const { body } = await lab.ask('GET', '/policy/events?limit=500')
      return (JSON.parse(body) as { events: { address?: string }[] }).events
    }
    await expect
      .poll(events, { interval: 100 })
      .toContainEqual(
        expect.objectContaining({ verdict: 'deny', address: 'fd00:77::1', protocol: 'tcp', port: 80 }),
      )
    // What the pod says of its groups by itself is nobody's doing.
    expect((await events()).filter(({ address }) => address?.startsWith('ff'))).toEqual([])
    await lab.setPolicy(allow('10.201.77.0/24', OUTSIDE))
    expect(await lab.dial(PRIVATE)).toBe(`open from ${POD}`)
    expect(await lab.dial(OUTSIDE, 80, 'udp')).toBe(`open from ${POD}`)
  })

  test('R1: a policy that becomes stricter ends what it no longer allows', async () => {
    await lab.setPolicy(allow('good.example', PRIVATE))
    await lab.resolve('good.example')
    const byName = await lab.hold(PUBLIC, 'http:good.example')
    const byAddress = await lab.hold(PRIVATE)
    expect([byName.first, await byAddress.say('one')]).toEqual([`open from ${POD}`, 'echo one'])
    await lab.setPolicy(allow('other.example'))
    expect(await byName.next()).toBe('failed ECONNRESET')
    expect(await byAddress.say('two')).toMatch(REFUSED)
    expect(await lab.dial(PUBLIC, 80, 'http:good.example')).toMatch(REFUSED)
  })

  test('who calls the pod from outside is answered, by TCP alone', async () => {
    await lab.serve('0.0.0.0', 8000)
    const call = (...args: string[]) =>
      run('ip', 'netns', 'exec', lab.outside, 'python3', '-c', CALL, POD, '8000', ...args)
    expect(await call('tcp')).toMatch(/^from 203\.0\.113\.1\n/)
    await expect(call('udp')).rejects.toThrow('TimeoutError')
    // And the pod's own programs reach each other.
    expect(await lab.dial('127.0.0.1', 8000)).toBe('open from 127.0.0.1')
    expect(await lab.dial(POD, 8000, 'udp')).toBe(`open from ${POD}`)
  })

  test('the API is for who has the token, also from within the pod', async () => {
    expect(await lab.ask('GET', '/healthz', { token: '' })).toEqual({ status: 200, body: 'ok' })
    for (const token of ['', 'wrong'])
      for (const [method, path] of [
        ['GET', '/policy'],
        ['PUT', '/policy'],
        ['PATCH', '/policy'],
        ['DELETE', '/policy'],
        ['GET', '/policy/events'],
        ['GET', '/credential-vault'],
      ] as const)
        expect((await lab.ask(method, path, { token, from: 'within', body: {} })).status).toBe(401)
    for (const path of ['/sandboxes/pod/policy', '/network', '/sandboxes', '/nothing'])
      expect((await lab.ask('GET', path)).status).toBe(404)
    expect((await lab.ask('PATCH', '/policy', { body: [{ target: 'new.example' }] })).status).toBe(200)
    const { policy } = JSON.parse((await lab.ask('GET', '/policy')).body)
    expect(policy.egress[0]).toEqual({ action: 'deny', target: 'new.example' })
    const events = await lab.ask('GET', '/policy/events?limit=500')
    expect(events.body).toContain('"verdict":"deny"')
    expect(await lab.ask('POST', '/policy', { body: ' ' })).toEqual({
      status: 200,
      body: expect.stringContaining('policy reset to default deny-all'),
    })
  })

  test('the published Python SDK changes the policy at port 18080', async () => {
    const program = ['netns', 'exec', lab.outside, await pythonWithSdk(), '-c', SDK, `${POD}:18080`, TOKEN]
    expect(JSON.parse(await run('ip', ...program))).toEqual({
      before: [],
      after: [['allow', 'sdk.example']],
      end: [],
    })
  })

  test('a secret of the vault goes where its binding says, and the workload trusts who reads', async () => {
    const heard = await hear(lab)
    await lab.setPolicy(allow('other.example'))
    const vault = {
      credentials: [{ name: 'key', source: { value: SECRET } }],
      bindings: [
        {
          name: 'other',
          match: { hosts: ['other.example'], schemes: ['http'], ports: [8081] },
          auth: { type: 'bearer', credential: 'key' },
        },
      ],
    }
    const made = await lab.ask('POST', '/credential-vault', { body: vault })
    expect([made.status, made.body]).toEqual([201, expect.stringContaining('"revision":1')])
    expect(made.body).not.toContain(SECRET)
    await lab.resolve('other.example')
    const url = 'http://other.example:8081/'
    await lab.run(['curl', '-s', '-m', '5', '--resolve', `other.example:8081:${PUBLIC_TOO}`, url])
    expect(await heard()).toBe(`Bearer ${SECRET}`)
    const authority = readFileSync(join(lab.trustDir, 'mitmproxy-ca-cert.pem'), 'utf8').trim()
    expect(authority).toMatch(/^-----BEGIN CERTIFICATE-----/)
    expect(readFileSync(join(lab.trustDir, 'merged-ca-certificates.pem'), 'utf8')).toContain(authority)
    expect((await lab.ask('DELETE', '/credential-vault')).status).toBe(204)
  })

  test('B6: what somebody else in the pod takes away is put back', async () => {
    await lab.setPolicy(allow('good.example'))
    const rules = countRules(await lab.rules())
    const from = lab.log.length
    await run('ip', 'netns', 'exec', lab.namespace, 'nft', 'flush', 'ruleset')
    await expect.poll(() => lab.log.slice(from)).toContain('putting them back')
    await expect.poll(async () => countRules(await lab.rules())).toBe(rules)
    expect(await lab.dial(PRIVATE)).toMatch(REFUSED)
  })

  test('B7: egress that stops leaves the pod closed', async () => {
    const rules = countRules(await lab.rules())
    expect(await lab.stop()).toBe(0)
    expect(countRules(await lab.rules())).toBe(rules)
    expect(await lab.dial(PUBLIC, 80, 'http:good.example')).toMatch(REFUSED)
    expect(await lab.resolve('good.example')).toEqual({ outcome: 'silent' })
    await lab.start(env)
  })

  test('B7 B12 R9: egress that is killed leaves the pod closed, its API nobody else, and finds all again', async () => {
    await lab.setPolicy(allow('good.example', PRIVATE))
    await lab.resolve('good.example')
    const rules = countRules(await lab.rules())
    await lab.stop('SIGKILL')
    expect(await lab.dial(PUBLIC, 80, 'http:good.example')).toMatch(REFUSED)
    expect(await lab.dial(PUBLIC_TOO)).toMatch(REFUSED)
    // Who takes the port of the API hears nothing from outside, and so no token.
    const squatter = await lab.serve('0.0.0.0', 18_080)
    const curl = ['netns', 'exec', lab.outside, 'curl', '-sS', '-m', '1', `http://${POD}:18080/policy`]
    await expect(run('ip', ...curl)).rejects.toThrow('curl: (28)')
    // It keeps egress from coming back, and harms nobody but itself.
    await expect(lab.start(env)).rejects.toThrow(/EADDRINUSE/)
    expect(await lab.dial(PUBLIC_TOO)).toMatch(REFUSED)
    squatter.kill('SIGKILL')
    await once(squatter, 'exit')
    await lab.start(env)
    // The policy of the API goes before that of the environment, and nothing is there twice.
    expect(countRules(await lab.rules())).toBe(rules)
    expect(await lab.dial(PUBLIC, 80, 'http:good.example')).toMatch(/^open/)
    expect(await lab.dial(PRIVATE)).toMatch(/^open/)
  })

  test('R8 B8 B9: what cannot be read opens nothing', async () => {
    await lab.stop()
    const start = (more: Record<string, string>) => lab.start({ ...env, ...more })
    const rules = '{"defaultAction":"block"}'
    const wrong = start({ OPENSANDBOX_EGRESS_MODE: 'dns+nftables', OPENSANDBOX_EGRESS_RULES: rules })
    await expect(wrong).rejects.toThrow(/EGRESS_MODE must be[\s\S]*EGRESS_RULES: defaultAction/)
    const file = join(lab.directory, 'broken.json')
    await run('sh', '-c', `printf '{"defaultAction' > ${file}`)
    await expect(start({ OPENSANDBOX_EGRESS_POLICY_FILE: file })).rejects.toThrow('Cannot use the policy in')
    await run('sh', '-c', `printf '[egress]\\nvault_require_tls = true\\n' > ${file}`)
    await expect(lab.start(env, '--config', file)).rejects.toThrow('egress.vault_require_tls cannot be on')
    expect(await lab.dial(PUBLIC_TOO)).toMatch(REFUSED)
  })
})

describe.skipIf(why !== undefined)('egress as the sidecar of a pod, by Deno', () => {
  const lab = new PodLab('deno')
  afterAll(() => lab.close())

  test('closes, opens, changes and stops', async () => {
    await lab.open()
    await lab.start({ OPENSANDBOX_EGRESS_RULES: JSON.stringify(allow('good.example')) })
    expect(await lab.dial(PUBLIC)).toMatch(REFUSED)
    expect(await lab.resolve('good.example')).toEqual({ rcode: 0, data: [PUBLIC] })
    expect(await lab.dial(PUBLIC, 80, 'http:good.example')).toBe(`open from ${POD}`)
    expect(await lab.dial(PUBLIC, 80, 'http:twin.example')).toBe('failed ECONNRESET')
    await lab.setPolicy(allow(PRIVATE))
    expect(await lab.dial(PRIVATE)).toBe(`open from ${POD}`)
    expect((await lab.ask('GET', '/policy', { token: 'wrong' })).status).toBe(401)
    expect(await lab.stop()).toBe(0)
    expect(await lab.dial(PUBLIC, 80, 'http:good.example')).toMatch(REFUSED)
  }, 60_000)
})

const CALL = `
import socket, sys
kind = socket.SOCK_STREAM if sys.argv[3] == 'tcp' else socket.SOCK_DGRAM
one = socket.socket(socket.AF_INET, kind)
one.settimeout(1)
one.connect((sys.argv[1], int(sys.argv[2])))
one.send(b'x')
print(one.recv(100).decode())`

const SDK = `
import json, sys
from opensandbox.config.connection_sync import ConnectionConfigSync
from opensandbox.models.sandboxes import NetworkRule, SandboxEndpoint
from opensandbox.sync.adapters.egress_adapter import EgressAdapterSync
where, token = sys.argv[1:3]
endpoint = SandboxEndpoint(endpoint=where, headers={'OPENSANDBOX-EGRESS-AUTH': token})
egress = EgressAdapterSync(ConnectionConfigSync(protocol='http'), endpoint)
rules = lambda: [[rule.action, rule.target] for rule in egress.get_policy().egress]
before = rules()
egress.patch_rules([NetworkRule(action='allow', target='sdk.example')])
after = rules()
egress.delete_rules(['sdk.example'])
print(json.dumps({'before': before, 'after': after, 'end': rules()}))`

const HEAR = `
from http.server import BaseHTTPRequestHandler, HTTPServer
class Hear(BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.headers.get('Authorization'), flush=True)
        self.send_response(204)
        self.end_headers()
    def log_message(self, *args):
        pass
server = HTTPServer(('0.0.0.0', 8081), Hear)
print('listening', flush=True)
server.handle_request()`

/** A web server outside, for one request; what it was authorized by. */
async function hear(lab: PodLab): Promise<() => Promise<string>> {
  const child = spawn('ip', ['netns', 'exec', lab.outside, 'timeout', '30', 'python3', '-c', HEAR], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  await lines.next()
  return async () => String((await lines.next()).value)
}

/** Gives the pod and its outside addresses of IPv6, and counts what arrives of it but for finding neighbours. */
async function countIpv6(lab: PodLab): Promise<() => Promise<number>> {
  for (const [namespace, address] of [
    [lab.namespace, 'fd00:77::2/64'],
    [lab.outside, 'fd00:77::1/64'],
  ] as const)
    await run('ip', '-n', namespace, 'address', 'add', address, 'dev', 'eth0', 'nodad')
  const nft = (...args: string[]) => run('ip', 'netns', 'exec', lab.outside, 'nft', ...args)
  await nft(
    'add table ip6 count; add chain ip6 count c { type filter hook prerouting priority 0; }; add rule ip6 count c meta l4proto != ipv6-icmp counter',
  )
  return async () =>
    Number(/packets (\d+)/.exec(await nft('list', 'table', 'ip6', 'count'))?.[1] ?? Number.NaN)
}

function countRules(listed: string): number {
  return listed.split('\n').filter((line) => /accept|drop|goto|reject|redirect/.test(line)).length
}
