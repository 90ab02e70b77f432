// The lifecycle API as the reference server describes itself, and what an answer may differ in from it. The document lies
// beside this repository; without it the tests that need it are skipped and say so.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { z } from 'zod'
import type { Reply } from './control-server.ts'

const FILE = join(import.meta.dirname, '../../../shared/contract/openapi/lifecycle-1.1.1.json')

export const NO_DOCUMENT = `there is no ${FILE}`

type Answer = {
  headers?: Record<string, unknown>
  content?: Record<string, { schema?: Record<string, unknown> }>
}
export type Document = {
  paths: Record<string, Record<string, { responses: Record<string, Answer> }>>
  components: { schemas: Record<string, unknown> }
}

export type PublishedDocument = {
  /** Every operation, as `GET /v1/sandboxes/{sandbox_id}`, with the statuses that are described. */
  operations: Map<string, string[]>
  /** What in an answer is not as described, one finding each; the empty list when all is. */
  differences: (operation: string, reply: Reply) => string[]
}

/** The document as it is; undefined when it is not there. */
export function readPublishedDocument(): Document | undefined {
  return existsSync(FILE) ? (JSON.parse(readFileSync(FILE, 'utf8')) as Document) : undefined
}

/** The document made ready to check answers; undefined when it is not there. */
export function loadPublishedDocument(): PublishedDocument | undefined {
  const document = readPublishedDocument()
  if (!document) return undefined
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  const time = z.iso.datetime({ offset: true })
  ajv.addFormat('date-time', (value: string) => time.safeParse(value).success)
  ajv.addSchema({ $id: 'document', components: document.components })
  const validators = new Map<string, ValidateFunction>()
  const check = (schema: Record<string, unknown>, value: unknown): string[] => {
    const text = JSON.stringify(schema).replaceAll('"#/components/', '"document#/components/')
    const validate = validators.get(text) ?? ajv.compile(JSON.parse(text) as Record<string, unknown>)
    validators.set(text, validate)
    if (validate(value)) return []
    return (validate.errors ?? []).map(({ instancePath, message }) => `body${instancePath} ${message}`)
  }

  const answers = new Map<string, Record<string, Answer>>()
  for (const [path, methods] of Object.entries(document.paths))
    for (const [method, { responses }] of Object.entries(methods))
      answers.set(`${method.toUpperCase()} ${path}`, responses)

  return {
    operations: new Map([...answers].map(([operation, responses]) => [operation, Object.keys(responses)])),
    differences(operation, { status, headers, text }) {
      const described = answers.get(operation)
      if (!described) return ['the route is not described']
      const answer = described[String(status)] ?? described.default
      if (!answer) return ['the status is not described']
      const missing = Object.keys(answer.headers ?? {})
        .filter((name) => !(name.toLowerCase() in headers))
        .map((name) => `header ${name} is missing`)
      return [...missing, ...differencesOfBody(answer, headers['content-type']?.[0], text, check)]
    },
  }
}

function differencesOfBody(
  { content }: Answer,
  contentType: string | undefined,
  text: string,
  check: (schema: Record<string, unknown>, value: unknown) => string[],
): string[] {
  if (!content) return text === '' ? [] : ['a body is not described']
  if ('*/*' in content) return []
  const type = contentType?.split(';')[0] ?? ''
  if (text === '') return ['the body is empty']
  const described = content[type]
  if (!described) return [`the type ${type} is not described`]
  if (type !== 'application/json') return []
  return check(described.schema ?? {}, JSON.parse(text))
}
