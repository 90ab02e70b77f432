// Every route and every status that the reference server's own description names: a real request that leads to it, and the
// answer held against the description. What is different on purpose stands in a list with its reasons; what is different and
// not in the list fails, and so does a line of the list that is not true any more.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startControlServer } from '../support/control-server.ts'
import { loadPublishedDocument, NO_DOCUMENT } from '../support/published-document.ts'
import { API_KEY, casesOf, REQUEST_ID, type Servers } from './published-cases.ts'

/** Which findings are on purpose, and why. */
const DIFFERENCES: { found: RegExp; reason: string }[] = [
  {
    found: /^POST \S+\/(pause|resume) 202: the body is empty$/,
    reason:
      'the reference sends no body either: the SDK of JavaScript fails on any other (clients.md, rule 7)',
  },
  {
    found:
      /\/diagnostics\/\w+ (400|404): a body is not described$|metrics\/events 401: a body is not described$/,
    reason:
      'a refusal is never empty: the SDK of JavaScript takes an empty one for success (clients.md, rule 8)',
  },
  {
    found: /\/(networkpolicy|diagnostics\/\w+) (400|401|404|500): the status is not described$/,
    reason: 'the description leaves out what every route does: a key is asked for, an id may be unknown',
  },
  {
    found: / \/templates\S* 500: the status is not described$/,
    reason: 'a fault of the server is a 500 everywhere',
  },
  {
    found: /^POST \/sandboxes (404|413): the status is not described$/,
    reason:
      'a template, pool or snapshot that is not there is a 404 with the reference too, and bodies have a bound',
  },
  {
    found: / 403: the status is not described$/,
    reason:
      'a server without a key refuses pages of other origins and names that are not its own, on every route',
  },
  {
    found:
      /^(\S+ \S+\}(\/(pause|resume|diagnostics\/inspect))?|GET \S*\/(networkpolicy|pools)) 422: never answered$/,
    reason:
      'the generator adds 422 to whatever has a parameter; these take any text, which is then not found',
  },
  {
    found: /^(PUT|PATCH) \S+\/networkpolicy 422: never answered$/,
    reason: 'the policy is judged where it is held, which answers 400 and names the rule',
  },
  {
    found: /^\S+ (\S+\/snapshots|\/(pools|templates|snapshots)\S*) 501: never answered$/,
    reason: 'pools, templates and snapshots work on this runtime',
  },
  {
    found: /^POST \/templates (409|503): never answered$/,
    reason: 'ids are made here, so they do not collide, and no cluster is asked that could be away',
  },
  {
    found: /^DELETE \/sandboxes\/\{sandbox_id\} 409: never answered$/,
    reason: 'a sandbox can be deleted in every state',
  },
  {
    found: /^PATCH \S+\/metadata 409: never answered$/,
    reason: 'metadata can be changed in every state, and changes at the same time do not exclude each other',
  },
  {
    found: /^POST (\S+\/snapshots|\/metrics\/events) 400: never answered$/,
    reason: 'a body that is not well formed is 422, as on the other routes',
  },
  {
    found: /^POST \/metrics\/events 500: never answered$/,
    reason: 'a report is a line in the log: nothing can fail',
  },
]

const document = loadPublishedDocument()
/** By their names without prefix, with the statuses of all prefixes. */
const operations = new Map(
  [...(document?.operations ?? [])].map(([name, statuses]) => [name.replace(' /v1/', ' /'), statuses]),
)
const cases = casesOf(operations)
const findings = new Set<string>()
const answered = new Set<string>()
let servers: Servers

beforeAll(async () => {
  if (!document) return
  const [keyed, open, broken] = await Promise.all([
    startControlServer({
      apiKey: API_KEY,
      quotas: { default: {}, tenants: { full: { sandboxes: 0 }, hasty: { createsPerMinute: 0 } } },
    }),
    startControlServer(),
    startControlServer(),
  ])
  servers = { keyed, open, broken }
})

afterAll(async () => {
  for (const server of Object.values(servers ?? {})) await server.stop()
})

test('the reference describes its API beside this repository', (context) => {
  if (!document) return context.skip(NO_DOCUMENT)
  expect(operations.size).toBeGreaterThan(40)
  expect([...new Set(cases.map(({ operation }) => operation))].sort()).toEqual([...operations.keys()].sort())
})

test('an answer that is not as described is found', (context) => {
  if (!document) return context.skip(NO_DOCUMENT)
  const differences = (operation: string, status: number, text: string, type = 'application/json') =>
    document.differences(operation, { status, headers: { 'content-type': [type] }, text })
  const whole = {
    id: 'a',
    status: { state: 'Running' },
    entrypoint: ['a'],
    createdAt: '2026-01-01T00:00:00Z',
  }
  const get = (body: object) => differences('GET /v1/sandboxes/{sandbox_id}', 200, JSON.stringify(body))
  expect(get(whole)).toEqual([])
  expect(get({ ...whole, id: undefined })).toEqual(["body must have required property 'id'"])
  expect(get({ ...whole, status: { state: 1 } })).toEqual(['body/status/state must be string'])
  expect(get({ ...whole, createdAt: 'yesterday' })).toEqual(['body/createdAt must match format "date-time"'])
  expect(differences('GET /sandboxes/{sandbox_id}', 418, '{}')).toEqual(['the status is not described'])
  expect(differences('GET /sandboxes/{sandbox_id}', 200, 'x', 'text/html')).toEqual([
    'the type text/html is not described',
  ])
  expect(differences('POST /sandboxes', 429, '{"code": "a", "message": "b"}')).toEqual([
    'header Retry-After is missing',
  ])
  expect(differences('DELETE /sandboxes/{sandbox_id}', 204, '{}')).toEqual(['a body is not described'])
})

describe.each(document ? ['', '/v1'] : [])('below "%s"', (prefix) => {
  const described = (operation: string) => operation.replace(' /', ` ${prefix}/`)

  test.each(cases.filter(({ operation }) => document?.operations.has(described(operation))))(
    '$name',
    async ({ operation, status, ask }) => {
      const reply = await ask(servers, prefix)
      expect([reply.status, reply.text]).toEqual([status, expect.anything()])
      answered.add(`${operation} ${status}`)
      expect(reply.headers['x-request-id']).toEqual([REQUEST_ID])
      expect(reply.headers.date).toHaveLength(1)
      const isJson = reply.headers['content-type']?.[0]?.startsWith('application/json')
      if (status >= 400)
        expect(JSON.parse(reply.text)).toMatchObject({
          code: expect.any(String),
          message: expect.any(String),
        })
      // Clients crash on a null in place of an absent field (clients.md, rule 10).
      if (isJson) expect(reply.text).not.toMatch(/:null\b/)
      if (reply.text === '' && status !== 204) expect(reply.headers['content-length']).toEqual(['0'])
      const found = (document?.differences(described(operation), reply) ?? []).map(
        (difference) => `${operation} ${status}: ${difference}`,
      )
      for (const finding of found) findings.add(finding)
      expect(found.filter((finding) => !DIFFERENCES.some((known) => known.found.test(finding)))).toEqual([])
    },
  )
})

test('every status that is described is answered, or why not is written down', (context) => {
  if (!document) return context.skip(NO_DOCUMENT)
  for (const [operation, statuses] of operations)
    for (const status of statuses) {
      const answer = status === 'default' ? '502' : status
      if (!answered.has(`${operation} ${answer}`)) findings.add(`${operation} ${status}: never answered`)
    }
  const lines = DIFFERENCES.map(({ found, reason }) => {
    const own = [...findings].filter((finding) => found.test(finding)).sort()
    return { reason, own }
  })
  console.log(
    lines
      .map(
        ({ reason, own }) => `Different, as ${reason}:\n${own.map((finding) => `  ${finding}\n`).join('')}`,
      )
      .join(''),
  )
  expect(lines.filter(({ own }) => own.length === 0).map(({ reason }) => reason)).toEqual([])
  expect([...findings].filter((finding) => !DIFFERENCES.some(({ found }) => found.test(finding)))).toEqual([])
})
