// The description of the API and the API are the same routes: what is registered is described, and what is described answers.

import { expect, onTestFinished, test } from 'vitest'
import { inWords } from '../../control/routes/docs.ts'
import { createOpenApi } from '../../control/routes/openapi.ts'
import { createControlApp } from '../support/control-app.ts'

/** Routes that take any method pass requests on to sandboxes, and are described by the methods there are. */
const PASSED_ON = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']
/** Each stands at one path; all others with `/v1` and without. */
const ONE_PATH = ['/health', '/ready', '/version', '/metrics', '/openapi.json', '/docs', '/redoc']

function open() {
  const control = createControlApp()
  onTestFinished(() => control.close())
  return control
}

function registeredRoutes(): Set<string> {
  const registered = new Set<string>()
  for (const { method, path } of open().app.routes) {
    const isProxy = path.includes('/proxy/')
    // Middleware stands in the same list.
    if (path.endsWith('*') && !isProxy) continue
    // A parameter may say what it has to look like.
    const described = path.replace(/\/\*$/, '/{path}').replace(/:(\w+)(\{[^/]+\})?/g, '{$1}')
    if (isProxy && !described.endsWith('/{path}')) continue
    for (const each of method === 'ALL' ? PASSED_ON : [method]) registered.add(`${each} ${described}`)
  }
  return registered
}

function describedRoutes(): Set<string> {
  const described = new Set<string>()
  for (const [path, methods] of Object.entries(createOpenApi('1').paths))
    for (const method of Object.keys(methods)) {
      described.add(`${method.toUpperCase()} ${path}`)
      if (!ONE_PATH.includes(path)) described.add(`${method.toUpperCase()} ${path.replace(/^\/v1/, '')}`)
    }
  return described
}

test('every registered route is described, and every described one is registered', () => {
  const registered = registeredRoutes()
  const described = describedRoutes()
  expect(registered.size).toBeGreaterThan(80)
  expect([...registered].filter((route) => !described.has(route))).toEqual([])
  expect([...described].filter((route) => !registered.has(route))).toEqual([])
})

test('paths are described with /v1, but for those that stand at one path', () => {
  const paths = Object.keys(createOpenApi('1').paths)
  expect(paths.filter((path) => !path.startsWith('/v1/')).sort()).toEqual([...ONE_PATH].sort())
})

test('every described parameter is one of its path, ids are unique, and schemas that are referred to are there', () => {
  const api = createOpenApi('1')
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.values(methods).map((operation) => ({ path, operation })),
  )
  const ids = operations.map(({ operation }) => operation.operationId)
  expect(new Set(ids).size).toBe(ids.length)
  for (const { path, operation } of operations) {
    const inPath = operation.parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name)
    expect(inPath, path).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))
  }
  const wanted = [...JSON.stringify(api.paths).matchAll(/#\/components\/schemas\/(\w+)/g)].map(
    ([, name]) => name,
  )
  const there = Object.keys(api.components.schemas)
  expect(wanted.filter((name) => !there.includes(String(name)))).toEqual([])
  expect(there.filter((name) => !wanted.includes(name) && name !== 'Event')).toEqual([])
})

test('what needs no key says so, and what needs one too', async () => {
  const control = createControlApp({ access: { apiKey: 'k' } })
  onTestFinished(() => control.close())
  for (const [path, methods] of Object.entries(createOpenApi('1').paths))
    for (const [method, { security }] of Object.entries(methods)) {
      const { status } = await control.call(method.toUpperCase(), path.replace(/\{port\}/, '80'))
      expect(status === 401, `${method} ${path} answers ${status}`).toBe(security !== undefined)
    }
})

test.each([
  [{ type: 'integer', minimum: 1, maximum: 200, default: 20 }, 'integer from 1 to 200; 20 by default'],
  [{ type: 'array', items: { type: 'string', enum: ['Running', 'Paused'] } }, 'any of: Running, Paused'],
  [{ type: 'string', maxLength: 100 }, 'string at most 100 characters'],
  [{}, 'anything'],
])('the page says of %j: %s', (schema, words) => {
  expect(inWords(schema)).toBe(words)
})

test('the page for people shows every route and every schema, and loads nothing', async () => {
  const { text, headers } = await open().call('GET', '/docs')
  const api = createOpenApi('1')
  for (const path of Object.keys(api.paths)) expect(text).toContain(`<code>${path}</code>`)
  for (const name of Object.keys(api.components.schemas)) expect(text).toContain(`id="${name}"`)
  expect(text).not.toMatch(/<(script|link|img)\b/)
  expect(headers.get('content-security-policy')).toContain("default-src 'none'")
})
