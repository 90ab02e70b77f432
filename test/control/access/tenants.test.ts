// Tenants that somebody else keeps: a file that is followed, a service that is asked, and what both mean for who sees what.

import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openFileTenants } from '../../../control/access/tenants/file-tenants.ts'
import { openHttpTenants, readAnswer } from '../../../control/access/tenants/http-tenants.ts'
import { openTenants } from '../../../control/access/tenants/open-tenants.ts'
import type { TenantKeys } from '../../../control/access/tenants/tenants.ts'
import { hashKey } from '../../../lib/access.ts'
import { parseTenants } from '../../../lib/config/tenants-file.ts'
import { createLogger, createSilentLogger } from '../../../lib/log.ts'
import { createControlApp, MINIMAL } from '../../support/control-app.ts'
import { TEST_MS } from '../../support/patience.ts'
import { waitUntil } from '../../support/wait-for.ts'

const SECRET = 'hunter2-hunter2'
const RED = '[[tenants]]\nname = "Team Red"\nnamespace = "red"\napi_keys = ["red-1", "red-2"]\n'
const BLUE = '[[tenants]]\nname = "Team Blue"\nnamespace = "blue"\napi_keys = ["blue-1"]\n'

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tenants-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function collect() {
  const lines: string[] = []
  return { lines, log: createLogger({ program: 'control', write: (line) => void lines.push(line) }) }
}

const closes = <T extends TenantKeys>(tenants: T): T => {
  onTestFinished(() => tenants.close())
  return tenants
}

describe('parseTenants()', () => {
  test('reads tenants by the hashes of their keys, plain ones and hashed ones', () => {
    const hashed = `${BLUE}\n[[tenants]]\nname = "g"\nnamespace = "green"\napi_keys = ["sha256:${hashKey('green-1')}"]\nmore = "of others"\n`
    const { tenants, problems } = parseTenants(RED + hashed, '/t.toml')
    expect(problems).toEqual([])
    expect(tenants).toEqual(
      new Map([
        [hashKey('red-1'), { name: 'Team Red', namespace: 'red' }],
        [hashKey('red-2'), { name: 'Team Red', namespace: 'red' }],
        [hashKey('blue-1'), { name: 'Team Blue', namespace: 'blue' }],
        [hashKey('green-1'), { name: 'g', namespace: 'green' }],
      ]),
    )
  })

  test.each([
    [
      `${RED}${BLUE.replace('blue-1', 'red-2')}`,
      '/t.toml:8: "tenants[1].api_keys[0]" must be a key that stands nowhere else, but it is one of "Team Red"',
    ],
    [
      `${RED}${BLUE.replace('"blue"', '"red"')}`,
      '/t.toml:7: "tenants[1].namespace" must be one that no other tenant has, but it is "red"',
    ],
    [
      `${RED}${BLUE.replace('Blue', 'Red')}`,
      '/t.toml:6: "tenants[1].name" must be one that no other tenant has',
    ],
    [
      RED.replace('"red"', '"Red"'),
      '/t.toml:3: "tenants[0].namespace" must be 1 to 63 lower-case letters, digits and hyphens',
    ],
    [
      RED.replace('Team Red', ''),
      '/t.toml:2: "tenants[0].name" must be one line of 1 to 100 characters, but it is ""',
    ],
    [
      RED.replace('["red-1", "red-2"]', '[]'),
      '/t.toml:4: "tenants[0].api_keys" must be a list of one or more keys',
    ],
    [
      RED.replace('["red-1", "red-2"]', `"${SECRET}"`),
      '"tenants[0].api_keys" must be a list of one or more keys',
    ],
    [
      RED.replace('red-2', `${SECRET} `),
      '/t.toml:4: "tenants[0].api_keys[1]" must be a key of 1 to 512 visible',
    ],
    ['[[tenants]]\nname = "x"\n', '/t.toml:1: "tenants[0]" needs "api_keys", and there is none'],
    ['[tenants]\nname = "x"\n', '/t.toml:1: "tenants" must be a list of tables, each written as [[tenants]]'],
    ['[[tenant]]\nname = "x"\n', '/t.toml:1: "tenant" stands in a file without tenants'],
    [`[[tenants]]\napi_keys = ["${SECRET}`, '/t.toml:2: not valid TOML'],
  ])('%j is refused, without a key in what is said', (source, expected) => {
    const { problems } = parseTenants(source, '/t.toml')
    expect(problems.join('\n')).toContain(expected)
    expect(problems.join('\n')).not.toContain(SECRET)
  })
})

describe('the file of tenants', () => {
  const open = async (path: string, log = createSilentLogger()) =>
    closes(await openFileTenants({ path, log, intervalMs: 20 }))

  test('is followed: what is written counts, what is broken counts not and is told once, what is deleted leaves nobody', async () => {
    const path = join(scratch(), 'tenants.toml')
    const { lines, log } = collect()
    writeFileSync(path, RED)
    const tenants = await open(path, log)
    expect(await tenants.find('red-2')).toEqual({ name: 'Team Red', namespace: 'red' })
    expect(await tenants.find('blue-1')).toBeUndefined()

    writeFileSync(path, RED + BLUE)
    await expect.poll(() => tenants.find('blue-1')).toEqual({ name: 'Team Blue', namespace: 'blue' })

    writeFileSync(path, `${BLUE}[[tenants]]\nname = "${SECRET}`)
    const broken = () => lines.filter((line) => line.includes('cannot be read'))
    await expect.poll(broken).toHaveLength(1)
    expect(await tenants.find('red-1')).toBeDefined()
    writeFileSync(`${path}.new`, BLUE)
    renameSync(`${path}.new`, path)
    await expect.poll(() => tenants.find('red-1')).toBeUndefined()
    expect(await tenants.find('blue-1')).toBeDefined()
    expect(broken()).toHaveLength(1)
    expect(broken()[0]).toContain(`${path}:6: not valid TOML`)

    rmSync(path)
    await expect.poll(() => tenants.find('blue-1')).toBeUndefined()
    writeFileSync(path, RED)
    await expect.poll(() => tenants.find('red-1')).toBeDefined()
    expect(lines.join('')).not.toMatch(/red-1|blue-1|hunter2/)
  })

  test('is followed as well as the program opens it', async () => {
    const path = join(scratch(), 'tenants.toml')
    writeFileSync(path, RED)
    const tenants = closes(await openTenants({ provider: 'file', path }, createSilentLogger()))
    writeFileSync(path, BLUE)
    await expect.poll(() => tenants.find('blue-1')).toBeDefined()
  })

  test('must be there and right when the server starts', async () => {
    const path = join(scratch(), 'tenants.toml')
    await expect(open(path)).rejects.toThrow(`Cannot read the tenants "${path}": there is no such file`)
    writeFileSync(path, '[[tenants]]\n')
    await expect(open(path)).rejects.toThrow(`${path}:1: "tenants[0]" needs "name"`)
    await expect(open(scratch())).rejects.toThrow('Cannot read the tenants')
  })
})

type Handler = (incoming: IncomingMessage, outgoing: ServerResponse) => void

/** A service that knows keys, whose behaviour a test changes as it goes. */
async function openService(handler: Handler) {
  const asked: (string | undefined)[] = []
  const service = { asked, handler, endpoint: '' }
  const server = createServer((incoming, outgoing) => {
    asked.push(incoming.headers['open-sandbox-api-key'] as string | undefined)
    service.handler(incoming, outgoing)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  service.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/whoami`
  return service
}

const says =
  (body: unknown, status = 200): Handler =>
  (_incoming, outgoing) => {
    outgoing.writeHead(status, { 'content-type': 'application/json' })
    outgoing.end(typeof body === 'string' ? body : JSON.stringify(body))
  }

const UNAVAILABLE = { status: 503, code: 'TENANT_PROVIDER_UNAVAILABLE' }

describe('the service of tenants', () => {
  async function open(handler: Handler, options: Partial<Parameters<typeof openHttpTenants>[0]> = {}) {
    const service = await openService(handler)
    let now = 0
    const { lines, log } = collect()
    const tenants = closes(
      openHttpTenants({
        endpoint: service.endpoint,
        maxStaleSeconds: 300,
        log,
        timeoutMs: 10_000,
        clock: () => now,
        ...options,
      }),
    )
    const pass = (seconds: number) => {
      now += seconds * 1000
    }
    return { service, tenants, lines, pass }
  }

  test('is asked with the key, and not again until its answer has run out', async () => {
    const headers: unknown[] = []
    const { service, tenants, pass } = await open(
      (incoming, outgoing) => {
        headers.push([incoming.method, incoming.url, incoming.headers.authorization])
        says({ namespace: 'red', ttl: 60 })(incoming, outgoing)
      },
      { auth: { name: 'Authorization', value: 'Bearer of-this-server' } },
    )
    for (let round = 0; round < 3; round++)
      expect(await tenants.find('k')).toEqual({ name: 'red', namespace: 'red' })
    pass(59)
    await tenants.find('k')
    expect(service.asked).toEqual(['k'])
    expect(headers).toEqual([['GET', '/whoami', 'Bearer of-this-server']])
    pass(2)
    service.handler = says({ namespace: 'blue' })
    expect(await tenants.find('k')).toEqual({ name: 'blue', namespace: 'blue' })
    pass(29)
    await tenants.find('k')
    expect(service.asked).toHaveLength(2)
    pass(2)
    await tenants.find('k')
    expect(service.asked).toHaveLength(3)
  })

  test("401 means that the key is nobody's, also for one that was somebody's a moment ago", async () => {
    const { service, tenants, pass } = await open(says({ namespace: 'red', ttl: 1 }))
    expect(await tenants.find('k')).toBeDefined()
    pass(2)
    service.handler = says({}, 401)
    expect(await tenants.find('k')).toBeUndefined()
    expect(await tenants.find('k')).toBeUndefined()
    expect(service.asked).toHaveLength(2)
    pass(6)
    service.handler = says({ namespace: 'red' })
    expect(await tenants.find('k')).toBeDefined()
  })

  test('is asked once for all who come with one key at the same time', async () => {
    const waiting: (() => void)[] = []
    const { service, tenants } = await open((incoming, outgoing) =>
      waiting.push(() =>
        says({ namespace: String(incoming.headers['open-sandbox-api-key']) })(incoming, outgoing),
      ),
    )
    const answers = Promise.all(['a', 'a', 'b', 'a', 'b'].map((key) => tenants.find(key)))
    await waitUntil(() => waiting.length === 2)
    for (const answer of waiting) answer()
    expect((await answers).map((tenant) => tenant?.namespace)).toEqual(['a', 'a', 'b', 'a', 'b'])
    expect(service.asked.sort()).toEqual(['a', 'b'])
  })

  const silent: Handler = () => {}
  test.each<[string, Handler]>([
    ['says nothing', silent],
    ['breaks off', (incoming) => void incoming.socket.destroy()],
    ['fails', says({ namespace: 'red' }, 500)],
    ['forbids', says({}, 403)],
    ['leads elsewhere', (_incoming, outgoing) => void outgoing.writeHead(302, { location: '/' }).end()],
    ['says no JSON', says('<html>')],
    ['says no namespace', says({ ttl: 5 })],
    ['names what is no tenant', says({ namespace: '../red' })],
    ['has a strange ttl', says({ namespace: 'red', ttl: -1 })],
    ['talks without end', says(`"${'x'.repeat(100_000)}"`)],
  ])('one that %s leaves what it said before for a while, and nothing for others', async (_how, handler) => {
    const timeoutMs = handler === silent ? 500 : 10_000
    const { service, tenants, lines, pass } = await open(says({ namespace: 'red', ttl: 10 }), { timeoutMs })
    await tenants.find('key-known')
    pass(11)
    service.handler = handler
    expect(await tenants.find('key-known')).toEqual({ name: 'red', namespace: 'red' })
    await expect(tenants.find('key-other')).rejects.toMatchObject(UNAVAILABLE)
    await expect(tenants.find('key-other')).rejects.toMatchObject({ headers: { 'Retry-After': '5' } })
    pass(298)
    expect(await tenants.find('key-known')).toBeDefined()
    pass(2)
    await expect(tenants.find('key-known')).rejects.toMatchObject(UNAVAILABLE)
    expect(lines.filter((line) => line.includes('does not answer'))).toHaveLength(1)
    service.handler = says({ namespace: 'red' })
    expect(await tenants.find('key-other')).toBeDefined()
    expect(lines.filter((line) => line.includes('answers again'))).toHaveLength(1)
    expect(lines.join('')).not.toMatch(/key-/)
  })

  test('while it is silent, a request with a known key waits for it now and then only', async () => {
    const { service, tenants, pass } = await open(says({ namespace: 'red', ttl: 1 }), { timeoutMs: 500 })
    await tenants.find('k')
    pass(2)
    service.handler = silent
    for (let round = 0; round < 5; round++) expect(await tenants.find('k')).toBeDefined()
    expect(service.asked).toHaveLength(2)
  })

  test('who asks for many keys that it does not know keeps nobody else from being asked for', async () => {
    const waiting: (() => void)[] = []
    const { service, tenants, pass } = await open((incoming, outgoing) => {
      if (String(incoming.headers['open-sandbox-api-key']).startsWith('guess'))
        waiting.push(() => says({}, 500)(incoming, outgoing))
      else says({ namespace: 'red' })(incoming, outgoing)
    })
    const guess = (at: number) => tenants.find(`guess${at}`, `2001:db8::${(at % 200).toString(16)}`)
    // All of one network, whatever their addresses.
    const guesses = Array.from({ length: 300 }, (_, at) => guess(at))
    const outcomes = Promise.allSettled(guesses.map(async (asked) => asked))
    await waitUntil(() => waiting.length === 50)
    await expect(guess(300)).rejects.toMatchObject(UNAVAILABLE)
    for (const from of ['192.0.2.1', '::ffff:192.0.2.2', '2001:db8:0:1::1', undefined])
      expect(await tenants.find(`own of ${from}`, from)).toEqual({ name: 'red', namespace: 'red' })
    for (const answer of waiting) answer()
    expect((await outcomes).every(({ status }) => status === 'rejected')).toBe(true)
    // What the service said nothing of is not asked again at once.
    const asked = service.asked.length
    await expect(guess(0)).rejects.toMatchObject(UNAVAILABLE)
    expect(service.asked).toHaveLength(asked)
    pass(3)
    const later = guess(0)
    await waitUntil(() => waiting.length === 51)
    waiting[50]?.()
    await expect(later).rejects.toMatchObject(UNAVAILABLE)
  })

  test('max_stale_seconds = 0: nothing is used beyond its time', async () => {
    const { service, tenants, pass } = await open(says({ namespace: 'red', ttl: 1 }), { maxStaleSeconds: 0 })
    await tenants.find('k')
    pass(2)
    service.handler = says({}, 500)
    await expect(tenants.find('k')).rejects.toMatchObject(UNAVAILABLE)
  })

  test('remembers so many keys and no more, and keys that somebody guesses push out none that is right', async () => {
    const { service, tenants } = await open(
      (incoming, outgoing) =>
        says(
          { namespace: 'red', ttl: 1000 },
          String(incoming.headers['open-sandbox-api-key']).startsWith('bad') ? 401 : 200,
        )(incoming, outgoing),
      { maxKept: 3 },
    )
    for (const key of ['a', 'b', 'c', 'bad1', 'bad2', 'bad3', 'bad4', 'a', 'b', 'c']) await tenants.find(key)
    expect(service.asked).toHaveLength(7)
    for (const key of ['a', 'd', 'a', 'b']) await tenants.find(key)
    // `d` took the place of `b`, which was used least recently.
    expect(service.asked.slice(7)).toEqual(['d', 'b'])
  })

  test('what is not asked any more at the stop is answered, not left waiting', async () => {
    const { tenants } = await open(silent, { timeoutMs: 2 * TEST_MS })
    const asked = tenants.find('k')
    const refused = expect(asked).rejects.toMatchObject(UNAVAILABLE)
    await tenants.close()
    await refused
  })
})

test.each([
  ['{"namespace":"red"}', { tenant: { name: 'red', namespace: 'red' }, ttlSeconds: 30 }],
  ['{"namespace":"red","ttl":null}', { tenant: { name: 'red', namespace: 'red' }, ttlSeconds: 30 }],
  ['{"namespace":"red","ttl":0,"more":1}', { tenant: { name: 'red', namespace: 'red' }, ttlSeconds: 0 }],
])('readAnswer(%s)', (text, expected) => {
  expect(readAnswer(text)).toEqual(expected)
})

test.each(['null', '[]', '5', '""', '{"namespace":5}', '{"namespace":"red","ttl":"5"}'])(
  'readAnswer(%s) is refused',
  (text) => {
    expect(() => readAnswer(text)).toThrow('its answer')
  },
)

describe('a server whose tenants are kept elsewhere', () => {
  const table = new Map([
    ['red-1', { name: 'Team Red', namespace: 'red' }],
    ['blue-1', { name: 'Team Blue', namespace: 'blue' }],
  ])
  const RED_KEY = { 'open-sandbox-api-key': 'red-1' }
  const BLUE_KEY = { 'open-sandbox-api-key': 'blue-1' }
  const OPS_KEY = { 'open-sandbox-api-key': 'ops-1' }

  function open(tenants: Pick<TenantKeys, 'find'> = { find: (key) => table.get(key) }) {
    const control = createControlApp({
      access: {
        tenants: { close: async () => {}, ...tenants },
        keys: [{ name: 'ops', hash: hashKey('ops-1'), role: 'admin' }],
      },
    })
    onTestFinished(control.close)
    return control
  }

  test("gives each its own, answers 404 for what is another's, and lets an operator's key see all", async () => {
    const control = open()
    const made = await control.call('POST', '/v1/sandboxes', MINIMAL, RED_KEY)
    expect(made.status).toBe(202)
    const path = `/v1/sandboxes/${String(made.body.id)}`
    expect((await control.call('GET', path, undefined, RED_KEY)).status).toBe(200)
    const hidden = await control.call('GET', path, undefined, BLUE_KEY)
    expect([hidden.status, hidden.body.code]).toEqual([404, 'DOCKER::SANDBOX_NOT_FOUND'])
    expect((await control.call('DELETE', path, undefined, BLUE_KEY)).status).toBe(404)
    expect((await control.call('GET', path, undefined, OPS_KEY)).status).toBe(200)
    expect(control.store.get(String(made.body.id))).toMatchObject({ tenant: 'red', createdBy: 'Team Red' })
  })

  test('asks for a key, and gives tenants no routes of admins', async () => {
    const control = open()
    const none = await control.call('GET', '/v1/sandboxes')
    expect([none.status, none.body.code]).toEqual([401, 'MISSING_API_KEY'])
    const wrong = await control.call('GET', '/v1/sandboxes', undefined, { 'open-sandbox-api-key': 'x' })
    expect([wrong.status, wrong.body.code]).toEqual([401, 'INVALID_API_KEY'])
    expect((await control.call('GET', '/v1/admin/keys', undefined, RED_KEY)).status).toBe(403)
    expect((await control.call('GET', '/health')).status).toBe(200)
  })

  test('says so when nobody can tell whose a key is, and lets those in that it knows itself', async () => {
    const { lines, log } = collect()
    const tenants = openHttpTenants({ endpoint: 'http://127.0.0.1:1/', maxStaleSeconds: 0, log })
    closes(tenants)
    const control = open(tenants)
    const answer = await control.call('GET', '/v1/sandboxes', undefined, RED_KEY)
    expect([answer.status, answer.body.code]).toEqual([503, 'TENANT_PROVIDER_UNAVAILABLE'])
    expect(answer.headers.get('retry-after')).toBe('5')
    expect((await control.call('GET', '/v1/sandboxes', undefined, OPS_KEY)).status).toBe(200)
    expect(lines).toHaveLength(1)
  })

  test('asks nobody for a key that is too long to be one', async () => {
    const asked: string[] = []
    const control = open({
      find: (key) => {
        asked.push(key)
        return undefined
      },
    })
    const answer = await control.call('GET', '/sandboxes', undefined, {
      'open-sandbox-api-key': 'x'.repeat(5000),
    })
    expect([answer.status, answer.body.code, asked]).toEqual([401, 'INVALID_API_KEY', []])
  })

  test('carries traffic of sandboxes for those alone whose they are', async () => {
    const control = open()
    const made = await control.call('POST', '/v1/sandboxes', MINIMAL, RED_KEY)
    const path = `/v1/sandboxes/${String(made.body.id)}/proxy/8080/`
    expect((await control.call('GET', path)).body.code).toBe('MISSING_API_KEY')
    expect((await control.call('GET', path, undefined, BLUE_KEY)).body.code).toBe('DOCKER::SANDBOX_NOT_FOUND')
    // This one stands behind a gateway and carries no traffic itself, but it would be let through.
    expect((await control.call('GET', path, undefined, RED_KEY)).body.code).toBe('GENERAL::NOT_FOUND')
  })
})
