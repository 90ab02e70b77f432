// Egress against the real kernel: namespaces, veth pairs and nftables, in an installation of its own. Needs root.

import { spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import {
  countDatagrams,
  countPackets,
  type Guest,
  Lab,
  listen,
  listenHere,
  PRIVATE,
  PUBLIC,
  PUBLIC_6,
  PUBLIC_TOO,
  run,
} from '../egress/network-lab.ts'

const allow = (...targets: string[]) => ({
  defaultAction: 'deny',
  egress: targets.map((target) => ({ action: 'allow', target })),
})
const NO_SUCH_NAME = { rcode: 3, data: [] }

const lab = new Lab()
let one: Guest
let two: Guest

beforeAll(async () => {
  lab.zone.set('good.example', [PUBLIC])
  lab.zone.set('other.example', [PUBLIC_TOO])
  lab.zone.set('twin.example', [PUBLIC])
  lab.zone.set('inside.example', [PRIVATE])
  lab.zone.set('metadata.example', ['169.254.169.254'])
  lab.zone.set('mixed.example', ['127.0.0.1', PUBLIC])
  await lab.open()
  one = await lab.addGuest(1)
  two = await lab.addGuest(2)
})
afterAll(() => lab.close())

/** The chains, without the sets. */
async function rulesOnly(): Promise<string[]> {
  const rules = await lab.rules()
  const lines = rules.slice(rules.indexOf('\tchain ')).split('\n')
  return rules.includes('\tchain ') ? lines.sort() : []
}

/** What is told of frames. */
const frameRules = () => run('nft', 'list', 'table', 'netdev', lab.table).catch(() => '')

/** Counts the datagrams that come to the host itself. */
async function listenOnHost() {
  const { createSocket } = await import('node:dgram')
  const socket = createSocket('udp4')
  onTestFinished(() => void socket.close())
  let count = 0
  socket.on('message', () => count++)
  await new Promise<void>((resolve) => socket.bind({ address: '0.0.0.0', port: 0 }, resolve))
  return { port: socket.address().port, count: () => count }
}

/** Counts the IPv6 packets that come in by an interface, and those of them that egress's rules let through. */
async function countFrom(name: string) {
  const table = `count_${name}`
  const chain = (which: string, priority: number) =>
    `add chain ip6 ${table} ${which} { type filter hook prerouting priority ${priority}; }; add rule ip6 ${table} ${which} iifname "${name}" counter`
  await run('nft', `add table ip6 ${table}; ${chain('came', -310)}; ${chain('passed', 0)}`)
  return {
    async read() {
      const listed = await run('nft', 'list', 'table', 'ip6', table)
      const [came, passed] = [...listed.matchAll(/packets (\d+)/g)].map(([, count]) => Number(count))
      return { came, passed }
    },
    end: async () => void (await run('nft', 'delete', 'table', 'ip6', table)),
  }
}

async function setPolicy(guest: Guest, policy: unknown): Promise<void> {
  const answer = await lab.policy(guest.id, 'PUT', policy)
  expect(answer.status, answer.body).toBe(200)
}

test('B4: a sandbox that egress does not know has nothing, not even names', async () => {
  expect(await one.dial(PUBLIC)).toBe('silent')
  expect(await one.resolve('good.example')).toEqual({ outcome: 'silent' })
  expect(await one.dial(one.gateway, 53)).toBe('silent')
})

describe('with one name allowed', () => {
  beforeAll(async () => {
    expect((await lab.register(one, allow('good.example'))).status).toBe(204)
    expect((await lab.register(two, { defaultAction: 'allow', egress: [] })).status).toBe(204)
  })

  test('the name resolves, and its address connects from then on, and not before', async () => {
    expect(await one.dial(PUBLIC)).toBe('failed ECONNREFUSED')
    expect(await one.resolve('good.example')).toEqual({ rcode: 0, data: [PUBLIC] })
    expect(await one.dial(PUBLIC, 80, 'http:good.example')).toBe('open from 198.51.100.1')
  })

  test('a connection from the port of one that has just ended begins at once, without being refused at first', async () => {
    await one.resolve('good.example')
    const inside = (...command: string[]) => run('ip', 'netns', 'exec', one.namespace, ...command)
    await inside(
      'nft',
      `add table ip syn; add chain ip syn c { type filter hook output priority 0; }; add rule ip syn c tcp sport 4242 tcp flags & (syn | ack) == syn counter`,
    )
    // The server ends each, so that it is egress which remembers it.
    const asking = `import socket
for _ in range(3):
  with socket.socket() as one:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("", 4242))
    one.connect(("${PUBLIC}", 80))
    one.sendall(b"GET /leave HTTP/1.1\\r\\nHost: good.example\\r\\n\\r\\n")
    while one.recv(4096): pass`
    await inside('python3', '-c', asking)
    expect(await inside('nft', 'list', 'table', 'ip', 'syn')).toContain('counter packets 3 ')
  })

  test('N3: two names behind one address are told apart by what the client asks for', async () => {
    const from = lab.log.length
    await one.resolve('good.example')
    expect(await one.dial(PUBLIC, 80, 'http:GOOD.example:80')).toMatch(/^open/)
    expect(await one.dial(PUBLIC, 80, 'http:twin.example')).toBe('failed ECONNRESET')
    expect(await one.dial(PUBLIC, 80, 'tls:good.example')).toMatch(/^failed (EPROTO|ERR_SSL)/)
    expect(await one.dial(PUBLIC, 80, 'tls:twin.example')).toBe('failed ECONNRESET')
    const [line] = await lab.waitForLog(/.*connection denied.*name=twin\.example.*\n/, { from })
    expect(line).toContain(
      `sandbox=guest-1 name=twin.example address=${PUBLIC} protocol=tcp port=80 verdict=deny`,
    )
  })

  test('N9: the address of a name opens for no other protocol', async () => {
    const from = lab.log.length
    await one.resolve('good.example')
    expect(await one.dial(PUBLIC, 80, 'say:SSH-2.0-client\r\n')).toBe('failed ECONNRESET')
    expect(await one.dial(PUBLIC, 80, 'say:\x01x')).toBe('failed ECONNRESET')
    expect(await one.dial(PUBLIC, 80, 'udp')).toMatch(/^failed E/)
    await lab.waitForLog(/connection denied.*neither TLS nor HTTP/, { from })
    // Silence, from a client that waits to be spoken to, is no protocol either.
    expect(await one.dial(PUBLIC)).toBe('silent')
    await setPolicy(one, allow('good.example', PUBLIC))
    expect(await one.dial(PUBLIC)).toMatch(/^open/)
    await setPolicy(one, allow('good.example'))
  })

  test('another name does not exist for it, by UDP and TCP, and the log says why', async () => {
    const from = lab.log.length
    expect(await one.resolve('other.example')).toEqual(NO_SUCH_NAME)
    expect(await one.resolve('other.example', { transport: 'tcp' })).toEqual(NO_SUCH_NAME)
    const [line] = await lab.waitForLog(/.*other\.example.*\n/, { from })
    expect(line).toContain('sandbox=guest-1')
    expect(line).toContain('verdict=deny reason="no rule matches: default action"')
    expect(lab.asked).not.toContain('other.example')
  })

  test('C1: an allowed name does not open an address that was answered for another', async () => {
    await setPolicy(one, allow('good.example', 'other.example'))
    await one.resolve('good.example')
    await one.resolve('other.example')
    expect(await one.dial(PUBLIC_TOO, 80, 'http:other.example')).toMatch(/^open/)
    expect(await one.dial(PUBLIC_TOO, 80, 'http:good.example')).toBe('failed ECONNRESET')
    await setPolicy(one, allow('good.example'))
  })

  test('P3: names resolve the same whichever server is asked', async () => {
    expect(await one.resolve('good.example', { server: PUBLIC })).toEqual({ rcode: 0, data: [PUBLIC] })
    expect(await one.resolve('other.example', { server: '8.8.8.8' })).toEqual(NO_SUCH_NAME)
  })

  test('an address that no name led to is refused at once, and the log says so', async () => {
    const from = lab.log.length
    expect(await one.dial(PUBLIC_TOO)).toBe('failed ECONNREFUSED')
    expect(await one.dial(PUBLIC_TOO, 80, 'udp')).toMatch(/^failed E(HOSTUNREACH|ACCES|PERM|CONNREFUSED)/)
    // Lines of the tests before may come only now; this one names its address.
    const expected = new RegExp(
      `.*connection denied.*address=${PUBLIC_TOO.replaceAll('.', '\\.')} protocol=tcp.*\\n`,
    )
    const [line] = await lab.waitForLog(expected, { from })
    expect(line).toContain(`sandbox=guest-1 address=${PUBLIC_TOO} protocol=tcp port=80 verdict=deny`)
  })

  test.each([
    ['the metadata service', '169.254.169.254', 80],
    ['the metadata service of another cloud', '168.63.129.16', 80],
    ['one at an address that carriers share', '100.100.100.200', 80],
    ['one among protocol assignments', '192.0.0.192', 80],
    ['a private network', PRIVATE, 80],
    ['the host by its outer address', '198.51.100.1', 22],
    ['the host by the gateway address', 'gateway', 80],
    ['DNS over TLS', PUBLIC, 853],
  ])('P2: %s is closed', async (_, address, port) => {
    await one.resolve('good.example')
    const target = address === 'gateway' ? one.gateway : address
    expect(await one.dial(target, port)).toMatch(/^failed E/)
  })

  test('P2: another sandbox is closed, whatever the policies', async () => {
    const listener = await listen(two.namespace, two.address, 80)
    onTestFinished(() => void listener.kill('SIGKILL'))
    await setPolicy(one, allow('good.example', '0.0.0.0/0', two.address))
    expect(await one.dial(two.address)).toBe('failed ECONNREFUSED')
    expect(await one.dial(two.address, 80, 'udp')).toMatch(/^failed/)
    await setPolicy(one, allow('good.example'))
  })

  test('P1: a source address that is not its own is dropped', async () => {
    await run('ip', '-n', one.namespace, 'address', 'add', `${two.address}/32`, 'dev', 'eth0')
    onTestFinished(
      async () =>
        void (await run('ip', '-n', one.namespace, 'address', 'del', `${two.address}/32`, 'dev', 'eth0')),
    )
    // Guest two may go there, so an answer would have come if the rules looked at the address alone.
    expect(await two.dial(PUBLIC_TOO)).toBe('open from 198.51.100.1')
    expect(await one.dial(PUBLIC_TOO, 80, 'tcp', two.address)).toBe('silent')
  })

  test('P2: IPv6 of every kind is closed by the rules alone, even to an address next door', async () => {
    // The interface takes none of it either, and it is dropped where it comes in: these two barriers are lifted here.
    const setting = `/proc/sys/net/ipv6/conf/${one.interface}/disable_ipv6`
    writeFileSync(setting, '0')
    onTestFinished(() => writeFileSync(setting, '1'))
    const from = lab.log.length
    process.kill(lab.pid, 'SIGSTOP')
    onTestFinished(() => void process.kill(lab.pid, 'SIGCONT'))
    await run('nft', 'delete', 'table', 'netdev', lab.table)
    const seen = await countFrom(one.interface)
    onTestFinished(seen.end)
    const { createServer } = await import('node:net')
    const inside = (...args: string[]) => run('ip', '-n', one.namespace, ...args)
    const macOf = async (shown: Promise<string>) =>
      (JSON.parse(await shown) as { address: string }[])[0]?.address
    const hostMac = await macOf(run('ip', '-j', 'link', 'show', 'dev', one.interface))
    const guestMac = await macOf(inside('-j', 'link', 'show', 'dev', 'eth0'))
    await run('ip', 'address', 'add', 'fd77::1/64', 'dev', one.interface, 'nodad')
    await inside('address', 'add', 'fd77::2/64', 'dev', 'eth0', 'nodad')
    // With the neighbours known, nothing but the rules is in the way.
    await run('ip', 'neigh', 'replace', 'fd77::2', 'lladdr', guestMac ?? '', 'dev', one.interface)
    await inside('neigh', 'replace', 'fd77::1', 'lladdr', hostMac ?? '', 'dev', 'eth0')
    const server = createServer((socket) => socket.end('host\n'))
    await new Promise<void>((resolve) => server.listen({ host: 'fd77::1', port: 0 }, resolve))
    onTestFinished(() => void server.close())
    const address = server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    expect(await one.dial('fd77::1', port)).toBe('silent')
    // For these the guest asks who has them, and says which groups it listens to.
    expect(await one.dial('fd77::99', port)).toMatch(/^silent|^failed/)
    expect(await one.dial('fe80::1%eth0', port)).toMatch(/^silent|^failed/)
    const { came, passed } = await seen.read()
    expect(came).toBeGreaterThan(0)
    expect(passed).toBe(0)
    process.kill(lab.pid, 'SIGCONT')
    await lab.waitForLog(/the rules were removed by something else/, { from })
    await expect.poll(() => frameRules(), { interval: 20 }).toContain(`chain ${one.interface} {`)
  })

  test('B2: what is neither IPv4 nor ARP is in the record, and what a machine says by itself is not', async () => {
    const inside = (...args: string[]) => run('ip', '-n', one.namespace, ...args)
    const hostMac = JSON.parse(await run('ip', '-j', 'link', 'show', 'dev', one.interface)) as {
      address: string
    }[]
    await inside('address', 'add', 'fd88::2/64', 'dev', 'eth0', 'nodad')
    await inside('neigh', 'replace', 'fd88::1', 'lladdr', hostMac[0]?.address ?? '', 'dev', 'eth0')
    await inside('route', 'add', '2001:db8:a::/48', 'via', 'fd88::1', 'dev', 'eth0')
    onTestFinished(() => void inside('address', 'delete', 'fd88::2/64', 'dev', 'eth0'))
    // As a neighbour it asks who has the second, and says which groups it listens to.
    const tried = await Promise.all(['2001:db8:a::10', 'fd88::99'].map((address) => one.dial(address, 4443)))
    expect(tried.filter((outcome) => outcome.startsWith('open'))).toEqual([])
    // A tag of a VLAN before IPv4, two tags, a type for experiments, a length instead of a type, and IPv6 that is none.
    await one.sendFrames('810000070800', '88a80007810000080800', '88b5', '0028', '86dd')
    const denied = async () => {
      const { body } = await lab.ask(one, 'events')
      return (JSON.parse(body) as { events: Record<string, unknown>[] }).events
    }
    await expect.poll(denied, { interval: 100 }).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          ...{ verdict: 'deny', address: '2001:db8:a::10', protocol: 'tcp', port: 4443 },
          reason: expect.stringMatching(/^sandboxes have no IPv6/),
        }),
        expect.objectContaining({ verdict: 'deny', reason: 'nobody takes a frame of type 0x8100' }),
      ]),
    )
    expect((await denied()).filter(({ address }) => String(address).startsWith('ff'))).toEqual([])
    expect(await frameRules()).toMatch(/mld2-listener-report.* counter packets [1-9]/)
  })

  test('the host reaches ports inside', async () => {
    const listener = await listen(one.namespace, one.address, 8000)
    onTestFinished(() => void listener.kill('SIGKILL'))
    const { connect } = await import('node:net')
    const text = await new Promise<string>((resolve, reject) => {
      const socket = connect({ host: one.address, port: 8000 })
      socket.once('error', reject)
      socket.once('data', (data) => {
        resolve(String(data).trim())
        socket.destroy()
      })
    })
    expect(text).toBe(`from ${one.gateway}`)
  })

  test('a packet from elsewhere does not get in', async () => {
    const listener = await listen(one.namespace, one.address, 8000)
    onTestFinished(() => void listener.kill('SIGKILL'))
    const outside = `lab-${lab.instance.key}-out`
    const outcome = await run(
      'ip',
      'netns',
      'exec',
      outside,
      process.execPath,
      new URL('../egress/fixtures/dial.ts', import.meta.url).pathname,
      one.address,
      '8000',
    )
    expect(outcome.trim()).toBe('silent')
  })
})

describe('addresses that a name may not open', () => {
  beforeAll(() => setPolicy(one, allow('*.example')))

  test.each(['inside.example', 'metadata.example'])('N2: %s has no address for a sandbox', async (name) => {
    const from = lab.log.length
    expect(await one.resolve(name)).toEqual({ rcode: 0, data: [] })
    const [line] = await lab.waitForLog(new RegExp(`.*name=${name}.*\\n`), { from })
    expect(line).toMatch(/its address [0-9.]+ is closed \((private|link-local)\) and no rule opens it/)
  })

  test('only the closed addresses of a name are taken out', async () => {
    expect(await one.resolve('mixed.example')).toEqual({ rcode: 0, data: [PUBLIC] })
  })

  test('a range in the policy opens a private network, and its names', async () => {
    expect(await one.dial(PRIVATE)).toMatch(/^failed E/)
    await setPolicy(one, allow('*.example', '10.201.0.0/16'))
    expect(await one.resolve('inside.example')).toEqual({ rcode: 0, data: [PRIVATE] })
    expect(await one.dial(PRIVATE)).toMatch(/^open/)
  })

  test('a denied range beats allowed names and ranges', async () => {
    await setPolicy(one, {
      defaultAction: 'deny',
      egress: [
        { action: 'allow', target: '*.example' },
        { action: 'allow', target: '198.51.100.0/24' },
        { action: 'deny', target: PUBLIC },
      ],
    })
    await one.resolve('good.example')
    expect(await one.dial(PUBLIC)).toBe('failed ECONNREFUSED')
    expect(await one.dial(PUBLIC_TOO)).toMatch(/^open/)
  })

  test('P2: an address of the host is opened by a rule that names it alone, and by no range', async () => {
    const { createServer } = await import('node:net')
    const server = createServer((socket) => socket.end('host\n'))
    await new Promise<void>((resolve) => server.listen({ host: '198.51.100.1', port: 0 }, resolve))
    onTestFinished(() => void server.close())
    const address = server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    await setPolicy(one, allow('198.51.100.0/24'))
    expect(await one.dial('198.51.100.1', port)).toBe('failed ECONNREFUSED')
    await setPolicy(one, allow('198.51.100.1'))
    expect(await one.dial('198.51.100.1', port)).toBe('open host')
  })
})

describe('a policy that changes while connections are open', () => {
  test('R1: opens and closes names at once, and ends the connections that it no longer allows', async () => {
    await setPolicy(one, allow('good.example'))
    await one.resolve('good.example')
    const held = await one.hold(PUBLIC, 'http:good.example')
    onTestFinished(() => held.end())
    expect(await held.say('here')).toBe('echo here')
    expect(await one.resolve('other.example')).toEqual(NO_SUCH_NAME)
    const patched = await lab.policy(one.id, 'PATCH', [{ action: 'allow', target: 'other.example' }])
    expect(patched.status).toBe(200)
    expect(await one.resolve('other.example')).toEqual({ rcode: 0, data: [PUBLIC_TOO] })
    expect(await one.dial(PUBLIC_TOO, 80, 'http:other.example')).toMatch(/^open/)
    // What was learned before is still open: its name is still allowed.
    expect(await one.dial(PUBLIC, 80, 'http:good.example')).toMatch(/^open/)
    expect(await held.say('still here')).toBe('echo still here')

    await lab.policy(one.id, 'PATCH', [{ action: 'deny', target: 'good.example' }])
    expect(await one.resolve('good.example')).toEqual(NO_SUCH_NAME)
    expect(await held.next()).toBe('failed ECONNRESET')
    expect(await one.dial(PUBLIC)).toBe('failed ECONNREFUSED')
    expect(await one.dial(PUBLIC_TOO, 80, 'http:other.example')).toMatch(/^open/)
  })

  test('R1: ends connections to a range that is no longer allowed', async () => {
    await setPolicy(one, allow('198.51.100.0/24'))
    const held = await one.hold(PUBLIC)
    onTestFinished(() => held.end())
    expect(await held.say('here')).toBe('echo here')
    await setPolicy(one, allow('other.example'))
    expect(await held.say('still here')).toBe('failed ECONNRESET')
  })

  test('default allow opens public addresses and keeps private ones closed', async () => {
    await setPolicy(one, { defaultAction: 'allow', egress: [] })
    expect(await one.dial(PUBLIC)).toMatch(/^open/)
    await setPolicy(one, { defaultAction: 'allow', egress: [{ action: 'deny', target: 'other.example' }] })
    expect(await one.dial(PRIVATE)).toMatch(/^failed E/)
    expect(await one.resolve('other.example')).toEqual(NO_SUCH_NAME)
    // What was resolved while everything was open stays reachable when only its name is.
    await one.resolve('good.example')
    await setPolicy(one, allow('good.example'))
    expect(await one.dial(PUBLIC, 80, 'http:good.example')).toMatch(/^open/)
    expect(await one.dial(PUBLIC_TOO)).toBe('failed ECONNREFUSED')
  })
})

/** A sandbox that goes while servers send to it, and another that gets its address. */
async function followAt(server: string, numbers: { before: number; next: number }): Promise<void> {
  const before = await lab.addGuest(numbers.before)
  await lab.register(before, allow(server))
  const held = await before.hold(server)
  const asked = await before.hold(server, 'stream')
  onTestFinished(() => {
    held.end()
    asked.end()
  })
  expect(await held.say('stream')).toBe('echo stream')
  expect((await lab.admin('DELETE', `/sandboxes/${before.id}`)).status).toBe(204)
  await lab.unplug(before)

  const next = await lab.addGuest(numbers.next, { address: before.address })
  const heard = await countPackets(next.namespace, 'prerouting', server)
  const sent = await countPackets(lab.outside, 'output', server)
  // It may go to the server itself, and still has no part in what the other has begun.
  await lab.register(next, allow(server))
  await expect.poll(async () => (await sent()).tcp).toBeGreaterThan(1)
  await expect.poll(async () => (await sent()).udp).toBeGreaterThan(5)
  expect(await heard()).toEqual({ tcp: 0, udp: 0 })
  // What it begins itself is answered, also by who says that nobody is there.
  expect(await next.dial(server)).toMatch(/^open/)
  expect(await next.dial(server, 80, 'udp')).toMatch(/^open/)
  expect(await next.dial(server, 81, 'udp')).toBe('failed ECONNREFUSED')
  await lab.admin('DELETE', `/sandboxes/${next.id}`)
}

const TAKE_OVER = join(import.meta.dirname, '../egress/fixtures/take-over.py')
const takeOver = (namespace: string, ...args: string[]) =>
  ['netns', 'exec', namespace, 'python3', TAKE_OVER, ...args] as const

/** Gives, once a server has answered a guest by UDP and on so many connections of TCP, where they are. */
async function watchConnections(guest: Guest, server: string, count: number): Promise<() => Promise<string>> {
  const child = spawn('ip', takeOver(guest.namespace, 'watch', server, String(count)), {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  await lines.next()
  return async () => String((await lines.next()).value)
}

/** A sandbox that goes without a word, and the next one at its address that takes part in its connections by packets made by hand. */
async function takeOverAt(server: string, numbers: { before: number; next: number }): Promise<void> {
  const before = await lab.addGuest(numbers.before)
  await lab.register(before, allow(server))
  const watched = await watchConnections(before, server, 2)
  const quiet = await before.hold(server)
  const busy = await before.hold(server)
  const asked = await before.hold(server, 'stream')
  onTestFinished(() => {
    for (const each of [quiet, busy, asked]) each.end()
  })
  await busy.say('stream')
  const where = await watched()
  expect((JSON.parse(where) as { tcp: unknown[] }).tcp).toHaveLength(2)
  const [mark = ''] =
    /(?<=ct mark )\w+/.exec((await lab.rules()).split(`chain reply-${before.id}`)[1] ?? '') ?? []
  await lab.admin('DELETE', `/sandboxes/${before.id}`)
  await lab.unplug(before)

  const next = await lab.addGuest(numbers.next, { address: before.address })
  await lab.register(next, allow(server))
  const attempt = async (...kinds: string[]) =>
    JSON.parse(await run('ip', ...takeOver(next.namespace, 'try', server, where, ...kinds))) as unknown[]
  const is6 = server.includes(':')
  expect(await attempt('datagram', 'middle:1', 'begin:1', ...(is6 ? [] : ['error']))).toEqual([])
  const denied = async () => {
    const { events } = JSON.parse((await lab.ask(next, 'events?limit=100')).body) as {
      events: { verdict: string; address?: string; protocol?: string; reason: string }[]
    }
    return events
      .filter(({ verdict, address }) => verdict === 'deny' && address === server)
      .map(({ protocol, reason }) => `${protocol}: ${/a connection that is not its own/.exec(reason)}`)
      .sort()
  }
  const expected = [...(is6 ? [] : ['icmp']), 'tcp', 'udp'].map(
    (protocol) => `${protocol}: a connection that is not its own`,
  )
  await expect.poll(denied).toEqual(expected)
  // A server that has nothing to say still knows of a connection when the kernel has forgotten.
  await run('python3', TAKE_OVER, 'forget', mark)
  expect(await attempt('middle:0')).toEqual([])
  expect(await attempt('begin:0')).toEqual([])
  await lab.admin('DELETE', `/sandboxes/${next.id}`)
}

describe('the next sandbox at an address hears nothing of what servers still send to the one before', () => {
  test('R1: by TCP and UDP', () => followAt(PUBLIC, { before: 3, next: 4 }))

  test('R1: nor does it take part by sending what fits', () => takeOverAt(PUBLIC, { before: 7, next: 8 }))

  test('R1: nor in what a program of the host has open', async () => {
    const listener = await listenHere('198.51.100.1', 80)
    onTestFinished(() => void listener.kill('SIGKILL'))
    await takeOverAt('198.51.100.1', { before: 11, next: 12 })
  })

  test('R1: by TCP and UDP of IPv6', async () => {
    const start = async (settings: string) => {
      await lab.stop()
      lab.settings = settings
      await lab.start()
    }
    await start('[runtime]\nipv6 = true\n')
    onTestFinished(() => start(''))
    const listener = await listen(lab.outside, PUBLIC_6, 80)
    onTestFinished(() => void listener.kill('SIGKILL'))
    await followAt(PUBLIC_6, { before: 5, next: 6 })
    await takeOverAt(PUBLIC_6, { before: 9, next: 10 })
  })
})

describe('rules beyond names and addresses', () => {
  test('N9: a rule for a port opens that alone, by address and by name', async () => {
    const ports = (target: string, ...numbers: number[]) => ({ action: 'allow', target, ports: numbers })
    await setPolicy(one, { egress: [ports(PUBLIC, 80)] })
    expect(await one.dial(PUBLIC, 80)).toMatch(/^open/)
    expect(await one.dial(PUBLIC, 8080)).toBe('failed ECONNREFUSED')
    await setPolicy(one, { egress: [{ ...ports(PUBLIC, 80), protocol: 'udp' }] })
    expect(await one.dial(PUBLIC, 80)).toBe('failed ECONNREFUSED')
    expect(await one.dial(PUBLIC, 80, 'udp')).toMatch(/^open/)
    const named = { egress: [ports('good.example', 443)] }
    await setPolicy(one, named)
    expect(await one.resolve('good.example')).toEqual({ rcode: 0, data: [PUBLIC] })
    expect(await one.dial(PUBLIC, 80, 'http:good.example')).toBe('failed ECONNREFUSED')
    await setPolicy(one, { egress: [ports('good.example', 443), ports('twin.example', 80)] })
    await one.resolve('good.example')
    await one.resolve('twin.example')
    expect(await one.dial(PUBLIC, 80, 'http:good.example')).toBe('failed ECONNRESET')
    expect(await one.dial(PUBLIC, 80, 'http:twin.example')).toMatch(/^open/)
    const shown = JSON.parse((await lab.policy(one.id, 'GET')).body)
    expect(shown.policy.egress).toEqual([ports('good.example', 443), ports('twin.example', 80)])
  })

  test('N4: a denied name is closed by any address where everything else is open', async () => {
    await setPolicy(one, { defaultAction: 'allow', egress: [{ action: 'deny', target: 'twin.example' }] })
    expect(await one.dial(PUBLIC, 80, 'http:good.example')).toMatch(/^open/)
    expect(await one.dial(PUBLIC, 80, `http:${PUBLIC}`)).toMatch(/^open/)
    expect(await one.dial(PUBLIC, 80, 'http:twin.example')).toBe('failed ECONNRESET')
    expect(await one.dial(PUBLIC, 80, 'tls:twin.example')).toBe('failed ECONNRESET')
    expect(await one.dial(PUBLIC, 80, 'say:SSH-2.0-client\r\n')).toBe('failed ECONNRESET')
    expect(await one.dial(PUBLIC, 80, 'udp')).toMatch(/^failed E/)
    expect(await one.dial(PRIVATE, 80, 'http:good.example')).toMatch(/^failed E/)
  })

  test('R1: what a server sends by UDP without being answered ends with the policy that let it in', async () => {
    await setPolicy(one, allow('198.51.100.0/24'))
    const stream = await one.hold(PUBLIC, 'stream')
    onTestFinished(() => stream.end())
    const ended = stream.next()
    await setPolicy(one, allow('198.51.100.0/24'))
    expect(await one.dial(PUBLIC)).toMatch(/^open/)
    await setPolicy(one, allow(PUBLIC_TOO))
    expect(await ended).toBe('quiet')
  })

  test('what one sandbox is refused, however much, hides nothing that another was', async () => {
    await setPolicy(one, allow('good.example'))
    const from = lab.log.length
    // More than there was room for in all, before each had a share.
    const places = Array.from({ length: 5000 }, (_, index) => `10.201.77.99:${index + 1}`)
    const flood = await two.flood(...places)
    await lab.waitForLog(/sandbox=guest-2 .*reason="more was refused than is told/, { from })
    expect(await one.dial(PUBLIC_TOO, 4711)).toBe('failed ECONNREFUSED')
    await lab.waitForLog(/sandbox=guest-1 address=\S+ protocol=tcp port=4711/, { from })
    const ended = new Promise((resolve) => flood.once('exit', resolve))
    flood.kill()
    await ended
    const listed = await run('nft', 'list', 'set', 'inet', lab.table, 'refused')
    expect(listed.split(`"${two.interface}"`).length).toBeLessThan(900)
  })
})

test('another program that marks each connection as it begins keeps nothing from a sandbox', async () => {
  await lab.register(one)
  await setPolicy(one, allow(PUBLIC))
  await run(
    'nft',
    `add table ip others; add chain ip others c { type filter hook prerouting priority mangle; }; add rule ip others c iifname "${one.interface}" ct mark 0 ct mark set 7`,
  )
  onTestFinished(async () => void (await run('nft', 'delete', 'table', 'ip', 'others')))
  expect(await one.dial(PUBLIC)).toMatch(/^open/)
  expect(await one.dial(PUBLIC, 80, 'udp')).toMatch(/^open/)
})

describe('egress that goes away', () => {
  test('B7: leaves rules that open nothing new, and finds everything again', async () => {
    await setPolicy(one, allow('good.example', 'other.example'))
    await one.resolve('good.example')
    await lab.stop('SIGKILL')
    expect(await one.dial(PUBLIC)).toBe('failed ECONNREFUSED')
    expect(await one.resolve('other.example')).toEqual({ outcome: 'silent' })
    expect(await one.dial(PUBLIC_TOO)).toBe('failed ECONNREFUSED')
    expect(await one.dial(PRIVATE)).toMatch(/^failed E/)

    const { subnet } = lab.network
    await lab.start()
    expect(lab.network.subnet).toBe(subnet)
    // Open before the name is asked for again: the kernel still knew the address.
    expect(await one.dial(PUBLIC, 80, 'http:good.example')).toMatch(/^open/)
    expect(await one.resolve('other.example')).toEqual({ rcode: 0, data: [PUBLIC_TOO] })
    const policy = JSON.parse((await lab.policy(one.id, 'GET')).body)
    expect(policy.policy).toEqual(allow('good.example', 'other.example'))
  })

  test('B7: killed while it changes a policy, it has the old one or the new one whole', async () => {
    const policies = [allow('good.example', PRIVATE), allow('other.example', PUBLIC, '198.18.0.0/15')]
    for (let moment = 0; moment < 4; moment++) {
      const changes = [0, 1].map((index) => lab.policy(one.id, 'PUT', policies[index]).catch(() => undefined))
      for (let turn = 0; turn < moment; turn++) await new Promise(setImmediate)
      await lab.stop('SIGKILL')
      await Promise.all(changes)
      await lab.start()
      const found = await rulesOnly()
      // What the file says is what the kernel has: putting it once more changes nothing.
      const { policy } = JSON.parse((await lab.policy(one.id, 'GET')).body)
      await setPolicy(one, policy)
      expect(await rulesOnly()).toEqual(found)
    }
  })

  test('B6: what egress itself writes to the kernel is not taken for a change by others', async () => {
    const from = lab.log.length
    await setPolicy(one, allow('good.example'))
    await Promise.all(['good.example', 'other.example'].map((name) => setPolicy(one, allow(name))))
    await one.resolve('other.example')
    // It is told of everything in order.
    await run('nft', 'add', 'chain', 'inet', lab.table, 'strange')
    await lab.waitForLog(/the rules were removed by something else/, { from })
    await expect.poll(() => lab.rules(), { interval: 20 }).not.toContain('strange')
    expect(lab.log.slice(from).match(/the rules were removed/g)).toHaveLength(1)
  })

  test('B6: puts back at once what something else has removed or emptied, and nothing gets out meanwhile', async () => {
    await setPolicy(one, { egress: [] })
    const complete = await rulesOnly()
    const heard = await listenOnHost()
    const arrived = [await countDatagrams(lab.outside, 4444), await two.count(4444)]
    const places = [PUBLIC, PRIVATE, two.address].map((address) => `${address}:4444`)
    const flood = await one.flood(...places, `${one.gateway}:${heard.port}`, `198.51.100.1:${heard.port}`)
    onTestFinished(() => void flood.kill('SIGKILL'))
    const ready = async () =>
      (await rulesOnly()).join() === complete.join() && /-500[^}]*goto other/.test(await frameRules())
    for (const what of ['delete table inet', 'flush table inet', 'flush table netdev']) {
      const from = lab.log.length
      await run('nft', ...what.split(' '), lab.table)
      await lab.waitForLog(/the rules were removed by something else/, { from })
      await expect.poll(ready, { interval: 20 }).toBe(true)
    }
    for (const chain of ['raw', 'forward', 'from_sandbox', `forward-${one.id}`]) {
      const from = lab.log.length
      await run('nft', 'flush', 'chain', 'inet', lab.table, chain)
      await lab.waitForLog(/the rules were removed by something else/, { from })
      await expect.poll(ready, { interval: 20 }).toBe(true)
    }
    await lab.stop('SIGKILL')
    await run('nft', 'delete', 'table', 'inet', lab.table)
    expect(await one.dial(PUBLIC)).toBe('silent')
    await lab.start()
    await expect.poll(ready, { interval: 20 }).toBe(true)
    expect([await arrived[0]?.(), await arrived[1]?.(), heard.count()]).toEqual([0, 0, 0])
    // The same datagrams arrive when they may.
    await setPolicy(one, allow(PUBLIC))
    await expect.poll(async () => (await arrived[0]?.()) ?? 0).toBeGreaterThan(0)
  })
})

describe('registrations', () => {
  test('twenty at once are in the kernel when they are answered', async () => {
    const { interfacePrefix, gateway } = lab.network
    const ids = Array.from({ length: 20 }, (_, index) => `burst-${index}`)
    const startedAt = performance.now()
    const answers = await Promise.all(
      ids.map((id, index) =>
        lab.admin('PUT', `/sandboxes/${id}`, {
          address: gateway.replace(/\d+$/, String(100 + index)),
          interface: `${interfacePrefix}b${index}`,
          token: 'a-token-of-the-burst',
          policy: allow('good.example'),
        }),
      ),
    )
    console.log(`20 registrations at once: ${(performance.now() - startedAt).toFixed(1)} ms`)
    expect(answers.map(({ status }) => status)).toEqual(ids.map(() => 204))
    const rules = await lab.rules()
    for (const id of ids) expect(rules).toContain(`chain forward-${id} {`)
    await Promise.all(ids.map((id) => lab.admin('DELETE', `/sandboxes/${id}`)))
    expect(await lab.rules()).not.toContain('-burst')
    await expect.poll(frameRules).not.toContain(`chain ${interfacePrefix}b`)
  })

  test('putting a sandbox twice changes nothing, and keeps the policy that it has by now', async () => {
    await setPolicy(one, allow('other.example'))
    const rules = async () => (await lab.rules()).replaceAll(/ expires \S+/g, '')
    const before = await rules()
    expect((await lab.register(one, allow('good.example'))).status).toBe(204)
    expect(await rules()).toBe(before)
    expect(await one.resolve('good.example')).toEqual(NO_SUCH_NAME)
  })

  test('an address that another sandbox has is refused', async () => {
    const answer = await lab.admin('PUT', '/sandboxes/thief', {
      address: one.address,
      interface: `${lab.network.interfacePrefix}th`,
      token: 'a-token-of-a-thief-1',
    })
    expect(answer.status).toBe(409)
    expect(answer.body).toContain(`address ${one.address} belongs to`)
  })

  test('delete leaves nothing of a sandbox, and closes it', async () => {
    expect(await two.dial(PUBLIC)).toMatch(/^open/)
    expect((await lab.admin('DELETE', `/sandboxes/${two.id}`)).status).toBe(204)
    expect((await lab.admin('DELETE', `/sandboxes/${two.id}`)).status).toBe(204)
    const rules = (await lab.rules()).replace(/set refused \{[^}]*\}[^}]*\}/, '')
    await expect.poll(frameRules).not.toContain(`chain ${two.interface} {`)
    expect(rules).not.toContain(two.id)
    expect(rules).not.toContain(two.address)
    expect(await two.dial(PUBLIC)).toBe('silent')
  })
})

test('a second egress of the same data directory, and a teardown beside a running one, are refused', async () => {
  const answered = 'runs already: stop it first'
  await expect(lab.teardown()).rejects.toThrow(answered)
  await expect(lab.runAlone()).rejects.toThrow(answered)
  expect((await lab.admin('GET', '/healthz')).body).toBe('ok')
})

test('a teardown removes everything, also what sandboxes still had', async () => {
  const { interfacePrefix } = lab.network
  await lab.stop()
  // A stop leaves the rules of sandboxes that are there.
  expect(await lab.rules()).toContain(`forward-${one.id}`)
  await lab.teardown()
  expect([await lab.rules(), await frameRules()]).toEqual(['', ''])
  expect(await run('nft', 'list', 'ruleset')).not.toContain(`${interfacePrefix}*`)
  expect(existsSync(lab.instance.runDir)).toBe(false)
  await lab.start()
  expect(JSON.parse((await lab.admin('GET', '/sandboxes')).body)).toEqual({ sandboxes: [] })
  expect((await lab.register(one, allow('good.example'))).status).toBe(204)
})

test('nothing of the installation is left when it stops without sandboxes', async () => {
  await lab.admin('DELETE', `/sandboxes/${one.id}`)
  expect(await lab.stop()).toBe(0)
  expect([await lab.rules(), await frameRules()]).toEqual(['', ''])
  const { interfacePrefix, subnet } = lab.network
  await expect(run('ip', 'link', 'show', 'dev', interfacePrefix)).rejects.toThrow(/does not exist/)
  expect(await run('ip', 'route', 'show')).not.toContain(subnet)
  expect(await run('nft', 'list', 'ruleset')).not.toContain(interfacePrefix)
  const mark = `0xb5a${lab.instance.key}`
  expect(await run('ip', 'rule', 'show')).not.toContain(mark)
})
