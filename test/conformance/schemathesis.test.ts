// Requests that nobody thought of, made by schemathesis from our own description of the API and from the reference's, against a
// real control with its database: no answer of 500, none that is not described, none that its description does not fit.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { MINIMAL } from '../support/control-app.ts'
import { type ControlServer, startControlServer } from '../support/control-server.ts'
import { type Document, NO_DOCUMENT, readPublishedDocument } from '../support/published-document.ts'
import { runSchemathesis } from '../support/schemathesis.ts'

const API_KEY = 'operator'
const HEADERS = { 'open-sandbox-api-key': API_KEY }
const TIMEOUT_MS = 240_000
/** What any route may answer, and our description has under `default`. */
const ANYWHERE = ['400', '401', '403', '408', '413', '422', '429', '500', '503']

/** What the reference answers too and does not describe (published-document.test.ts has the list with the reasons). */
const UNDESCRIBED = [
  { of: /\/networkpolicy$/, statuses: ['400', '404', '409'] },
  { of: /\/diagnostics\//, statuses: ['400', '404'] },
]
// What is well formed may still be against a rule, such as that of labels, and much is taken that is not: a null for what is
// absent, numbers as texts (lib/api/lifecycle-coerce.ts). Both have tables of tests of their own.
const CHECKS = `
[checks]
positive_data_acceptance.enabled = false
negative_data_rejection.enabled = false
`

let server: ControlServer

beforeAll(async () => {
  server = await startControlServer({ apiKey: API_KEY })
})

afterAll(async () => {
  await server?.stop()
})

/** Sandboxes and a pool that requests can be about, as ids that are made up are only ever not found. */
async function makeSubjects(): Promise<string> {
  const make = async (path: string, body: object) => {
    const { text } = await server.ask({ method: 'POST', path, body, headers: HEADERS })
    return JSON.parse(text) as { id: string; name: string }
  }
  const ids: string[] = []
  for (const more of [{}, { timeout: 86_400 }, { metadata: { team: 'a' } }])
    ids.push((await make('/sandboxes', { ...MINIMAL, ...more })).id)
  const capacitySpec = { bufferMin: 1, bufferMax: 1, poolMin: 0, poolMax: 2 }
  const name = `p${ids[0]}`
  await make('/pools', { name, template: { ...MINIMAL, image: 'debian' }, capacitySpec })
  return `
[dictionaries]
sandboxes = { values = ${JSON.stringify(ids)} }
pools = { values = ["${name}"] }
`
}

test(
  'our own description fits what is answered',
  async () => {
    const { text } = await server.ask({ method: 'GET', path: '/openapi.json' })
    const document = JSON.parse(text) as Document
    // Streams that do not end, what is passed on to sandboxes, and what answers 501 as there is nothing of it here.
    for (const path of Object.keys(document.paths))
      if (/^\/v1\/events$|\/events\/stream$|\/proxy\/|\/snapshots/.test(path)) delete document.paths[path]
    for (const operation of Object.values(document.paths).flatMap((methods) => Object.values(methods))) {
      const { default: refused = {}, ...responses } = operation.responses
      operation.responses = {
        ...Object.fromEntries(ANYWHERE.map((status) => [status, refused])),
        ...responses,
      }
    }
    const { ok, output } = await runSchemathesis({
      url: `http://127.0.0.1:${server.port}`,
      document,
      config: `
[auth.openapi.apiKey]
api_key = "${API_KEY}"

${CHECKS}
${await makeSubjects()}
[[operations]]
include-path-regex = "^/v1/sandboxes/"
exclude-method = "DELETE"
[operations.parameters]
"path.id" = { dictionary = "sandboxes", probability = 0.7 }
`,
      maxExamples: 12,
      timeoutMs: TIMEOUT_MS,
    })
    expect(ok, output).toBe(true)
  },
  TIMEOUT_MS,
)

test(
  'the reference\u2019s description fits what is answered',
  async (context) => {
    const document = readPublishedDocument()
    if (!document) return context.skip(NO_DOCUMENT)
    const paths: Document['paths'] = {}
    for (const [path, methods] of Object.entries(document.paths)) {
      // Every path is there twice, and what one of the two has deleted is gone for the other.
      if (!path.startsWith('/v1/') && document.paths[`/v1${path}`]) continue
      paths[path] = methods
      for (const { responses } of Object.values(methods)) {
        for (const status of UNDESCRIBED.find(({ of }) => of.test(path))?.statuses ?? [])
          responses[status] ??= {}
        // Empty, whatever the generator of the description says: see published-document.test.ts.
        if (/\/(pause|resume)$/.test(path)) responses['202'] = {}
      }
    }
    const { ok, output } = await runSchemathesis({
      url: `http://127.0.0.1:${server.port}`,
      document: { ...document, paths },
      config: `
[headers]
OPEN-SANDBOX-API-KEY = "${API_KEY}"

${CHECKS}
${await makeSubjects()}
[[operations]]
include-path-regex = "^/v1/sandboxes/"
exclude-method = "DELETE"
[operations.parameters]
"path.sandbox_id" = { dictionary = "sandboxes", probability = 0.7 }

# Nothing listens on most ports; an application may know more methods than HTTP does.
[[operations]]
include-path-regex = "/proxy/"
[operations.checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 502]
[operations.phases.coverage]
unexpected-methods = ["TRACE"]

# This version takes no snapshots.
[[operations]]
include-path-regex = "/snapshots$"
[operations.checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 501]
`,
      maxExamples: 8,
      timeoutMs: TIMEOUT_MS,
    })
    expect(ok, output).toBe(true)
  },
  TIMEOUT_MS,
)
