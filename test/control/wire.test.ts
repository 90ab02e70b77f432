// What the reference server gets wrong on the wire, a test each (the numbers are those of its list of weaknesses): on a real control
// with its database, on sockets, with a program on loopback in the place of the sandboxes.

import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { createControlApp, MINIMAL } from '../support/control-app.ts'
import {
  type Ask,
  type ControlServer,
  type Reply,
  startControlServer,
  unknownId,
} from '../support/control-server.ts'

let server: ControlServer

beforeAll(async () => {
  server = await startControlServer()
})

afterAll(async () => {
  await server?.stop()
})

type Answer = Reply & { json: Record<string, unknown> }

async function ask(method: string, path: string, more: Omit<Ask, 'method' | 'path'> = {}): Promise<Answer> {
  const reply = await server.ask({ method, path, ...more })
  const isJson = reply.headers['content-type']?.[0]?.includes('json')
  return { ...reply, json: isJson ? (JSON.parse(reply.text) as Record<string, unknown>) : {} }
}

async function create(more: object = {}): Promise<string> {
  const { status, json } = await ask('POST', '/v1/sandboxes', { body: { ...MINIMAL, ...more } })
  expect(status).toBe(202)
  return String(json.id)
}

/** A program in every sandbox, on a port of its own. */
async function startProgram(handler: RequestListener): Promise<number> {
  const program = createServer(handler)
  await new Promise<void>((resolve) => program.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    program.closeAllConnections()
    program.close()
  })
  return (program.address() as AddressInfo).port
}

test('S1: what a program of one sandbox sets as a cookie is sent to no other', async () => {
  const seen: IncomingMessage[] = []
  const port = await startProgram((incoming, outgoing) => {
    seen.push(incoming)
    outgoing.writeHead(200, [
      ['Set-Cookie', 'a=1; Path=/'],
      ['Set-Cookie', 'b=2'],
    ])
    outgoing.end()
  })
  const [one, other] = [await create(), await create()]
  const { headers } = await ask('GET', `/sandboxes/${one}/proxy/${port}/`)
  const path = `Path=/sandboxes/${one}/proxy/${port}/`
  expect(headers['set-cookie']).toEqual([`a=1; ${path}`, `b=2; ${path}`])
  for (const id of [one, other]) await ask('POST', `/sandboxes/${id}/proxy/${port}/`, { body: '{}' })
  expect(seen.map((incoming) => incoming.headers.cookie)).toEqual([undefined, undefined, undefined])
})

test('S8: a closed port answers no secret of the sandbox', async () => {
  const id = await create()
  const tokens = await Promise.all(
    [44772, 18080].map(async (port) => {
      const { json } = await ask('GET', `/v1/sandboxes/${id}/endpoints/${port}`)
      return Object.values(json.headers as Record<string, string>)[0] ?? 'none'
    }),
  )
  const { status, json, text } = await ask('GET', `/sandboxes/${id}/proxy/1/`)
  expect([status, json.code]).toEqual([502, 'BACKEND_CONNECTION_FAILED'])
  for (const token of tokens) expect(text).not.toContain(token)
  expect(text).not.toMatch(/127\.0\.0\.1|ECONN/)
})

test.each([
  ['memory', '1.5.5Gi'],
  ['memory', 'abc'],
  ['memory', '0'],
  ['memory', '-1Gi'],
  ['cpu', 'abc'],
  ['cpu', '0'],
  ['cpu', 'Infinity'],
])('S10: a limit that cannot be read is refused, and not taken for none: %s %s', async (name, value) => {
  const { status, json } = await ask('POST', '/sandboxes', {
    body: { ...MINIMAL, resourceLimits: { [name]: value } },
  })
  expect([status, json.code]).toEqual([400, 'SANDBOX::INVALID_PARAMETER'])
  expect(json.message).toContain(`resourceLimits.${name}`)
})

test('S18: the address of an endpoint is the configured one, whatever Host a client sends', async () => {
  const control = createControlApp({ settings: { eip: 'edge.example/base' }, access: { apiKey: 'k' } })
  onTestFinished(control.close)
  const headers = { 'open-sandbox-api-key': 'k', host: 'evil.example:99' }
  const made = await control.call('POST', '/sandboxes', MINIMAL, headers)
  for (const query of ['', '?use_server_proxy=true']) {
    const { body } = await control.call(
      'GET',
      `/sandboxes/${String(made.body.id)}/endpoints/80${query}`,
      undefined,
      headers,
    )
    expect(body.endpoint).toMatch(/^edge\.example\/base\//)
  }
})

test.each([
  ['name', { name: 'a\nb' }],
  ['mountPath', { mountPath: '/mnt/a\nb' }],
  ['subPath', { subPath: 'a\0b' }],
])('S21: a volume with a control character in its %s is refused', async (_, part) => {
  const volume = { name: 'v', mountPath: '/mnt/v', host: { path: '/srv/v' }, ...part }
  const { status } = await ask('POST', '/sandboxes', { body: { ...MINIMAL, volumes: [volume] } })
  expect([400, 422]).toContain(status)
})

test('S22: a create that is refused has made no directory', async () => {
  const made: string[] = []
  const control = createControlApp({
    life: { allowedHostPaths: ['/srv/data'] },
    files: {
      realPath: async (path) => {
        if (path.endsWith('/new') && !made.includes(path))
          throw Object.assign(new Error(path), { code: 'ENOENT' })
        return path
      },
      makeDirectory: async (path) => void made.push(path),
    },
  })
  onTestFinished(control.close)
  const volumes = [{ name: 'v', mountPath: '/mnt/v', host: { path: '/srv/data/new' } }]
  for (const wrong of [
    { resourceLimits: { cpu: 'abc' } },
    { metadata: { 'bad key': 'x' } },
    { volumes: [...volumes, { name: 'w', mountPath: '/mnt/w', host: { path: '/etc/new' } }] },
  ])
    expect((await control.call('POST', '/sandboxes', { ...MINIMAL, volumes, ...wrong })).status).toBe(400)
  expect(made).toEqual([])
  expect((await control.call('POST', '/sandboxes', { ...MINIMAL, volumes })).status).toBe(202)
  expect(made).toEqual(['/srv/data/new'])
})

test('S12: a delete that fails takes nothing away, says so, and can be sent again', async () => {
  const id = await create()
  server.runtime.before = (call) => {
    if (call === 'remove') throw new Error('device or resource busy')
  }
  onTestFinished(() => {
    server.runtime.before = () => {}
  })
  const failed = await ask('DELETE', `/v1/sandboxes/${id}`)
  expect([failed.status, failed.json.code]).toEqual([500, 'DOCKER::SANDBOX_DELETE_FAILED'])
  expect(failed.text).not.toContain('busy')
  expect(server.runtime.sandboxes.has(id)).toBe(true)
  server.runtime.before = () => {}
  expect((await ask('DELETE', `/v1/sandboxes/${id}`)).status).toBe(204)
  expect(server.runtime.sandboxes.has(id)).toBe(false)
})

test('S26: the password of a registry is in no answer and in no row, also while the image is fetched', async () => {
  const auth = { username: 'u', password: 'registry-password' }
  const fetched = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<string>()
  const control = createControlApp()
  onTestFinished(control.close)
  control.runtime.before = async (call, id) => {
    if (call !== 'create') return
    begun.resolve(id)
    await fetched.promise
  }
  const creating = control.call('POST', '/sandboxes', { ...MINIMAL, image: { uri: 'private/image', auth } })
  const id = await begun.promise
  const pending = await control.call('GET', `/sandboxes/${id}`)
  expect(pending.body).toMatchObject({ status: { state: 'Pending' }, image: { uri: 'private/image' } })
  expect(JSON.stringify(control.store.get(id))).not.toContain(auth.password)
  fetched.resolve()
  const texts = [pending, await creating, await control.call('GET', '/sandboxes')].map(({ text }) => text)
  expect(texts.join()).not.toContain(auth.password)
  expect(JSON.stringify(control.store.get(id))).not.toContain(auth.password)
})

test('D3: a metadata key that was removed stays away', async () => {
  const id = await create({ metadata: { team: 'a', keep: 'b' } })
  const patch = async (body: object) =>
    (await ask('PATCH', `/v1/sandboxes/${id}/metadata`, { body })).json.metadata
  expect(await patch({ team: null })).toEqual({ keep: 'b' })
  expect(await patch({ new: '1' })).toEqual({ keep: 'b', new: '1' })
  expect(await patch({})).toEqual({ keep: 'b', new: '1' })
})

test('D4: of twenty patches at once none is lost', async () => {
  const id = await create()
  const names = Array.from({ length: 20 }, (_, index) => `k${index}`)
  await Promise.all(
    names.map((name) => ask('PATCH', `/v1/sandboxes/${id}/metadata`, { body: { [name]: 'v' } })),
  )
  const { json } = await ask('GET', `/v1/sandboxes/${id}`)
  expect(Object.keys(json.metadata as object).sort()).toEqual(names.sort())
})

test('D12: a pause and a resume move lastTransitionAt', async () => {
  const id = await create()
  const movedAt = async () => {
    const { json } = await ask('GET', `/v1/sandboxes/${id}`)
    return (json.status as { lastTransitionAt: string }).lastTransitionAt
  }
  const times = [await movedAt()]
  for (const verb of ['pause', 'resume']) {
    await expect.poll(() => Date.now()).toBeGreaterThan(Date.parse(times.at(-1) ?? ''))
    await ask('POST', `/v1/sandboxes/${id}/${verb}`)
    times.push(await movedAt())
  }
  expect(new Set(times).size).toBe(3)
  expect([...times].sort()).toEqual(times)
})

test('D13: what was asked for is what is read, and when it was made does not move', async () => {
  const asked = {
    image: { uri: 'Registry.example/team/app:1' },
    entrypoint: ['sh -c "echo hi"'],
    metadata: { a: '' },
  }
  const made = await ask('POST', '/v1/sandboxes', { body: { ...MINIMAL, ...asked } })
  const read = await ask('GET', `/v1/sandboxes/${String(made.json.id)}`)
  expect(read.json).toMatchObject({ ...asked, createdAt: made.json.createdAt })
})

test('D14: metadata is what was asked for, and reserved names are refused', async () => {
  const id = await create({ metadata: { 'com.docker.compose': 'mine' } })
  expect((await ask('GET', `/v1/sandboxes/${id}`)).json.metadata).toEqual({ 'com.docker.compose': 'mine' })
  const { status, json } = await ask('POST', '/sandboxes', {
    body: { ...MINIMAL, metadata: { 'opensandbox.io/x': 'y' } },
  })
  expect([status, json.code]).toEqual([400, 'SANDBOX::INVALID_METADATA_LABEL'])
})

test('L1, L2: sandboxes that vanish break neither their own reading nor the list', async () => {
  const ids = await Promise.all(Array.from({ length: 6 }, () => create({ metadata: { of: 'l2' } })))
  server.runtime.sandboxes.delete(ids[0] ?? '')
  expect((await ask('GET', `/v1/sandboxes/${ids[0]}`)).status).toBe(200)
  const [lists, deletes] = await Promise.all([
    Promise.all(Array.from({ length: 13 }, () => ask('GET', '/v1/sandboxes?metadata=of%3Dl2'))),
    Promise.all(ids.map((id) => ask('DELETE', `/v1/sandboxes/${id}`))),
  ])
  expect(new Set(lists.map(({ status }) => status))).toEqual(new Set([200]))
  expect(new Set(deletes.map(({ status }) => status))).toEqual(new Set([204]))
})

test('L3: of deletes that come together none fails', async () => {
  const id = await create()
  const deletes = await Promise.all(Array.from({ length: 6 }, () => ask('DELETE', `/v1/sandboxes/${id}`)))
  const statuses = deletes.map(({ status }) => status)
  expect(statuses).toContain(204)
  expect(statuses.filter((status) => status !== 204 && status !== 404)).toEqual([])
  expect((await ask('DELETE', `/v1/sandboxes/${id}`)).status).toBe(404)
})

test('L4: to pause what is paused is a conflict, also at the same time', async () => {
  const id = await create()
  const pauses = await Promise.all(Array.from({ length: 4 }, () => ask('POST', `/v1/sandboxes/${id}/pause`)))
  expect(pauses.map(({ status }) => status).sort()).toEqual([202, 409, 409, 409])
  const again = await ask('POST', `/v1/sandboxes/${id}/pause`)
  expect([again.status, again.json.code]).toEqual([409, 'DOCKER::SANDBOX_NOT_RUNNING'])
})

test('L7: whatever goes wrong, the body is code and message, and the request has an id', async () => {
  const id = await create()
  server.runtime.before = (call) => {
    if (call === 'pause') throw new Error('a fault within')
  }
  onTestFinished(() => {
    server.runtime.before = () => {}
  })
  const answers: [number, Answer][] = [
    [400, await ask('GET', '/v1/sandboxes?metadata=bare')],
    [403, await ask('GET', '/v1/sandboxes', { headers: { host: 'rebound.example' } })],
    [404, await ask('GET', '/no/such/route')],
    [404, await ask('GET', `/v1/sandboxes/${unknownId()}`)],
    [405, await ask('PUT', '/v1/sandboxes')],
    [413, await ask('POST', '/v1/sandboxes', { body: 'x'.repeat(2 << 20) })],
    [422, await ask('POST', '/v1/sandboxes', { body: '{' })],
    [422, await ask('POST', '/v1/sandboxes', { body: '{}', headers: { 'content-type': 'text/plain' } })],
    [500, await ask('POST', `/v1/sandboxes/${id}/pause`)],
    [502, await ask('GET', `/sandboxes/${id}/proxy/1/`)],
  ]
  for (const [status, answer] of answers) {
    expect([status, answer.status, answer.json]).toEqual([
      status,
      status,
      expect.objectContaining({
        code: expect.stringMatching(/^[A-Z_]+(::[A-Z_]+)?$/),
        message: expect.any(String),
      }),
    ])
    expect(answer.headers['x-request-id']).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/)])
    expect(answer.headers.date).toHaveLength(1)
  }
})

test('L9: a program that breaks off before its answer is a 502', async () => {
  const port = await startProgram((incoming) => void incoming.socket.destroy())
  const { status, json } = await ask('GET', `/sandboxes/${await create()}/proxy/${port}/`)
  expect([status, json.code]).toEqual([502, 'BACKEND_RESPONSE_FAILED'])
})

test('L10, L11: a request reaches the program as it was sent, by whatever method', async () => {
  const seen: string[][] = []
  const port = await startProgram((incoming, outgoing) => {
    seen.push([`${incoming.method} ${incoming.url}`, ...incoming.rawHeaders])
    outgoing.end()
  })
  const id = await create()
  // By a bare socket, as a client would put some of this right.
  const client = connect(server.port, '127.0.0.1')
  for (const method of ['GET', 'HEAD', 'OPTIONS', 'DELETE'])
    client.write(
      `${method} /sandboxes/${id}/proxy/${port}/a%2Fb/..;/c%20d?x=%20y+z&x=%2f HTTP/1.1\r\nHost: localhost\r\nX-Twice: one\r\nX-Twice: two\r\n\r\n`,
    )
  await expect.poll(() => seen.length).toBe(4)
  client.destroy()
  for (const [at, method] of ['GET', 'HEAD', 'OPTIONS', 'DELETE'].entries()) {
    const [line, ...headers] = seen[at] ?? []
    const names = headers.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase())
    expect(line).toBe(`${method} /a%2Fb/..;/c%20d?x=%20y+z&x=%2f`)
    const twice = names.flatMap((name, index) => (name === 'x-twice' ? [headers[2 * index + 1]] : []))
    expect(twice.join(', ')).toBe('one, two')
    expect(names).not.toContain('accept-encoding')
    expect(names).not.toContain('transfer-encoding')
  }
})
