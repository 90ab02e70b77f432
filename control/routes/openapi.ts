// The API described for programs, made from the same schemas that check the requests, so that it cannot drift.

import { z } from 'zod'
import { API_KEY_HEADER } from '../../lib/access.ts'
import { ADMIN_OPERATIONS } from './openapi/admin.ts'
import { DIAGNOSTICS_OPERATIONS } from './openapi/diagnostics.ts'
import { DOMAIN_OPERATIONS } from './openapi/domains.ts'
import { IMAGE_OPERATIONS } from './openapi/images.ts'
import { NETWORK_OPERATIONS } from './openapi/network.ts'
import { type Operation, TEXT_TYPES } from './openapi/operation.ts'
import { POOL_OPERATIONS } from './openapi/pools.ts'
import { SANDBOX_OPERATIONS } from './openapi/sandboxes.ts'
import { SCHEMAS, type SchemaName } from './openapi/schemas.ts'
import { SERVER_OPERATIONS } from './openapi/server.ts'
import { SHARE_OPERATIONS } from './openapi/shares.ts'
import { SNAPSHOT_OPERATIONS } from './openapi/snapshots.ts'
import { TEMPLATE_OPERATIONS } from './openapi/templates.ts'
import { VOLUME_OPERATIONS } from './openapi/volumes.ts'

const OPERATIONS: Operation[] = [
  ...SANDBOX_OPERATIONS,
  ...NETWORK_OPERATIONS,
  ...DIAGNOSTICS_OPERATIONS,
  ...SHARE_OPERATIONS,
  ...DOMAIN_OPERATIONS,
  ...TEMPLATE_OPERATIONS,
  ...POOL_OPERATIONS,
  ...SNAPSHOT_OPERATIONS,
  ...VOLUME_OPERATIONS,
  ...ADMIN_OPERATIONS,
  ...IMAGE_OPERATIONS,
  ...SERVER_OPERATIONS,
]

export type OpenApiDocument = {
  openapi: string
  info: { title: string; version: string; description: string }
  paths: Record<string, Record<string, OpenApiOperation>>
  components: { schemas: Record<string, unknown>; securitySchemes: Record<string, unknown> }
}
export type OpenApiOperation = {
  operationId: string
  summary: string
  tags: string[]
  parameters: { name: string; in: string; required: boolean; description?: string; schema: unknown }[]
  requestBody?: unknown
  responses: Record<string, unknown>
  security?: unknown[]
}

/** The OpenAPI 3.1 document of everything that this version does. */
export function createOpenApi(version: string): OpenApiDocument {
  const paths: OpenApiDocument['paths'] = {}
  for (const operation of OPERATIONS) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: describe(operation) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'OpenSandbox Lifecycle API',
      version,
      description: 'Every path that begins with /v1 exists without it too.',
    },
    paths,
    components: {
      schemas: Object.fromEntries(
        Object.entries(SCHEMAS).map(([name, schema]) => [name, jsonSchema(schema)]),
      ),
      securitySchemes: { apiKey: { type: 'apiKey', in: 'header', name: API_KEY_HEADER } },
    },
  }
}

function describe(operation: Operation): OpenApiOperation {
  const {
    path,
    id,
    summary,
    tag,
    body,
    isBodyOptional = false,
    query,
    headers = {},
    answers,
    open,
  } = operation
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: name === 'port' ? { type: 'integer', minimum: 1, maximum: 65535 } : { type: 'string' },
  }))
  const refused = {
    description: 'Refused: the code says why, the message names the field',
    ...content('ErrorResponse'),
  }
  return {
    operationId: id,
    summary,
    tags: [tag],
    parameters: [...inPath, ...(query ? queryParameters(query) : []), ...headerParameters(headers)],
    ...(body && { requestBody: { required: !isBodyOptional, ...content(body) } }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, [description, schema, text]]) => [
          status,
          Number(status) >= 400 && !schema
            ? { ...refused, description }
            : { description, ...((schema || text) && content(schema, text)) },
        ]),
      ),
      ...(!open && { 401: { ...refused, description: 'The API key is missing or wrong' } }),
      default: refused,
    },
    ...(!open && { security: [{ apiKey: [] }] }),
  }
}

function headerParameters(headers: Record<string, string>): OpenApiOperation['parameters'] {
  return Object.entries(headers).map(([name, description]) => ({
    name,
    in: 'header',
    required: false,
    description,
    schema: { type: 'string' },
  }))
}

function queryParameters(query: z.ZodType): OpenApiOperation['parameters'] {
  const { properties = {} } = jsonSchema(query) as { properties?: Record<string, { description?: string }> }
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: false,
    ...(schema.description && { description: schema.description }),
    schema,
  }))
}

function content(name?: SchemaName, text?: keyof typeof TEXT_TYPES) {
  return {
    content: {
      ...(name && { 'application/json': { schema: { $ref: `#/components/schemas/${name}` } } }),
      ...(text && { [TEXT_TYPES[text]]: { schema: { type: 'string' } } }),
    },
  }
}

function jsonSchema(schema: z.ZodType): Record<string, unknown> {
  const { $schema, ...rest } = z.toJSONSchema(schema, {
    io: 'output',
    override: ({ jsonSchema: part }) => {
      // Unknown fields are ignored, not refused, and the bounds of the platform's integers are no rule of this API.
      if (part.additionalProperties === false) delete part.additionalProperties
      if (part.maximum === Number.MAX_SAFE_INTEGER) delete part.maximum
      if (part.minimum === Number.MIN_SAFE_INTEGER) delete part.minimum
    },
  }) as Record<string, unknown>
  return rest
}
