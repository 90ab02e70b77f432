// The API described for programs, made from the same schemas that check the requests (design D13), so that it cannot drift.

import { z } from 'zod'
import { tenantName } from '../../lib/api/admin.ts'
import * as shapes from '../../lib/api/lifecycle.ts'

type Operation = {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  path: string
  id: string
  summary: string
  tag: string
  body?: keyof typeof SCHEMAS
  query?: z.ZodType
  /** By status: what it means, the schema of the JSON, and whether plain text may come in its place. */
  answers: Record<number, [string, (keyof typeof SCHEMAS | undefined)?, 'text'?]>
  open?: boolean
}

const SCHEMAS = {
  CreateSandboxRequest: shapes.createRequestSchema,
  CreateSandboxResponse: shapes.createdSandboxSchema,
  Sandbox: shapes.sandboxSchema,
  ListSandboxesResponse: shapes.sandboxListSchema,
  PatchSandboxMetadataRequest: shapes.metadataPatchSchema,
  RenewSandboxExpirationRequest: shapes.renewRequestSchema,
  RenewSandboxExpirationResponse: shapes.renewedSchema,
  Endpoint: shapes.endpointSchema,
  CreatePoolRequest: shapes.poolRequestSchema,
  UpdatePoolRequest: shapes.poolUpdateSchema,
  Pool: shapes.poolSchema,
  ListPoolsResponse: shapes.poolListSchema,
  CreateTemplateRequest: shapes.templateRequestSchema,
  Template: shapes.templateSchema,
  ListTemplatesResponse: shapes.templateListSchema,
  NetworkPolicy: shapes.networkPolicyRequestSchema,
  Diagnostics: shapes.diagnosticsSchema,
  MetricsEvent: shapes.metricsEventSchema,
  ErrorResponse: shapes.errorSchema,
}

const listQuery = z.object({
  state: z.array(z.enum(shapes.SANDBOX_STATES)).optional(),
  metadata: z
    .string()
    .optional()
    .describe('Labels that must all fit, as "key=value&key2=value2", encoded once more'),
  page: z.int().min(1).default(1),
  pageSize: z.int().min(1).max(200).default(20),
})
const templateQuery = listQuery.omit({ state: true })
const tenantQuery = z.object({
  tenant: tenantName.optional().describe("Whose pools, for the operator's keys"),
})
const endpointQuery = z.object({ use_server_proxy: z.boolean().default(false) })
const scopeQuery = z.object({ scope: z.enum(['runtime', 'all']).optional() })

const OPERATIONS: Operation[] = [
  {
    method: 'post',
    path: '/v1/sandboxes',
    id: 'createSandbox',
    summary: 'Create a sandbox. Answers when it runs, or with Pending when its image takes long to fetch.',
    tag: 'Sandboxes',
    body: 'CreateSandboxRequest',
    answers: {
      202: ['The sandbox', 'CreateSandboxResponse'],
      400: ['Refused'],
      404: ['No such template'],
      409: ['Deleted before it was ready'],
      422: ['Not well formed'],
      429: ['The pool is empty, or the tenant asks too often'],
    },
  },
  {
    method: 'get',
    path: '/v1/sandboxes',
    id: 'listSandboxes',
    summary: 'List sandboxes, the newest first, by state and labels.',
    tag: 'Sandboxes',
    query: listQuery,
    answers: { 200: ['A page of sandboxes', 'ListSandboxesResponse'], 400: ['A filter cannot be read'] },
  },
  {
    method: 'get',
    path: '/v1/sandboxes/{id}',
    id: 'getSandbox',
    summary: 'Read one sandbox.',
    tag: 'Sandboxes',
    answers: { 200: ['The sandbox', 'Sandbox'], 404: ['No such sandbox'] },
  },
  {
    method: 'delete',
    path: '/v1/sandboxes/{id}',
    id: 'deleteSandbox',
    summary: 'Delete a sandbox and all that belongs to it.',
    tag: 'Sandboxes',
    answers: { 204: ['It is gone'], 404: ['No such sandbox'] },
  },
  {
    method: 'patch',
    path: '/v1/sandboxes/{id}/metadata',
    id: 'patchSandboxMetadata',
    summary: 'Set labels by a text, remove them by null.',
    tag: 'Sandboxes',
    body: 'PatchSandboxMetadataRequest',
    answers: { 200: ['The sandbox', 'Sandbox'], 400: ['A label may not be'], 404: ['No such sandbox'] },
  },
  {
    method: 'post',
    path: '/v1/sandboxes/{id}/renew-expiration',
    id: 'renewSandboxExpiration',
    summary: 'Set a new end, sooner or later than the old one.',
    tag: 'Sandboxes',
    body: 'RenewSandboxExpirationRequest',
    answers: {
      200: ['The new end', 'RenewSandboxExpirationResponse'],
      400: ['Not in the future'],
      404: ['No such sandbox'],
      409: ['It has no expiry'],
    },
  },
  {
    method: 'post',
    path: '/v1/sandboxes/{id}/pause',
    id: 'pauseSandbox',
    summary: 'Freeze all processes; memory and files stay.',
    tag: 'Sandboxes',
    answers: { 202: ['It is paused'], 404: ['No such sandbox'], 409: ['It does not run'] },
  },
  {
    method: 'post',
    path: '/v1/sandboxes/{id}/resume',
    id: 'resumeSandbox',
    summary: 'Let a paused sandbox go on.',
    tag: 'Sandboxes',
    answers: { 202: ['It runs again'], 404: ['No such sandbox'], 409: ['It is not paused'] },
  },
  {
    method: 'get',
    path: '/v1/sandboxes/{id}/endpoints/{port}',
    id: 'getSandboxEndpoint',
    summary: 'Where a port is reached, and which headers to send. 44772 is execd, 18080 the egress policy.',
    tag: 'Network',
    query: endpointQuery,
    answers: { 200: ['The endpoint', 'Endpoint'], 400: ['No such port'], 404: ['No such sandbox'] },
  },
  ...(['get', 'put', 'patch', 'delete'] as const).map(
    (method): Operation => ({
      method,
      path: '/v1/sandboxes/{id}/networkpolicy',
      id: `${method}NetworkPolicy`,
      summary: {
        get: 'Read the egress policy in force.',
        put: 'Replace the egress policy.',
        patch: 'Put rules, given as a list, before those there are.',
        delete: 'Remove the rules of the targets given as a list.',
      }[method],
      tag: 'Network',
      ...(method === 'put' && { body: 'NetworkPolicy' as const }),
      answers: { 200: ['The state of the policy'], 404: ['No such sandbox'], 409: ['None is in force'] },
    }),
  ),
  {
    method: 'get',
    path: '/v1/sandboxes/{id}/diagnostics/events',
    id: 'getSandboxEvents',
    summary: 'The states that a sandbox went through: JSON with a scope, plain text without.',
    tag: 'Diagnostics',
    query: scopeQuery,
    answers: { 200: ['The events', 'Diagnostics', 'text'], 404: ['No such sandbox'] },
  },
  {
    method: 'get',
    path: '/v1/sandboxes/{id}/diagnostics/summary',
    id: 'getSandboxSummary',
    summary: 'Facts and events as plain text.',
    tag: 'Diagnostics',
    answers: { 200: ['Plain text', undefined, 'text'], 404: ['No such sandbox'] },
  },
  {
    method: 'post',
    path: '/v1/pools',
    id: 'createPool',
    summary:
      "Keep sandboxes of one shape warm. The template is a create request without what is the caller's, or a pod template.",
    tag: 'Pools',
    query: tenantQuery,
    body: 'CreatePoolRequest',
    answers: { 201: ['The pool', 'Pool'], 400: ['Refused'], 409: ['There is one of this name'] },
  },
  {
    method: 'get',
    path: '/v1/pools',
    id: 'listPools',
    summary: 'List pools with what is in them.',
    tag: 'Pools',
    query: tenantQuery,
    answers: { 200: ['All pools', 'ListPoolsResponse'] },
  },
  {
    method: 'get',
    path: '/v1/pools/{name}',
    id: 'getPool',
    summary: 'Read one pool.',
    tag: 'Pools',
    query: tenantQuery,
    answers: { 200: ['The pool', 'Pool'], 404: ['No such pool'] },
  },
  {
    method: 'put',
    path: '/v1/pools/{name}',
    id: 'updatePool',
    summary: 'Change how many sandboxes are kept, and with a template what they are like.',
    tag: 'Pools',
    query: tenantQuery,
    body: 'UpdatePoolRequest',
    answers: { 200: ['The pool', 'Pool'], 400: ['Refused'], 404: ['No such pool'] },
  },
  {
    method: 'delete',
    path: '/v1/pools/{name}',
    id: 'deletePool',
    summary: 'Remove a pool and its warm sandboxes; claimed ones stay.',
    tag: 'Pools',
    query: tenantQuery,
    answers: { 204: ['It is gone'], 404: ['No such pool'] },
  },
  {
    method: 'post',
    path: '/v1/templates',
    id: 'createTemplate',
    summary: 'Prepare an image: fetch it, start it, wait until it is ready, and publish it under a name.',
    tag: 'Templates',
    body: 'CreateTemplateRequest',
    answers: { 201: ['The template, Pending', 'Template'], 400: ['Refused'], 422: ['Not well formed'] },
  },
  {
    method: 'get',
    path: '/v1/templates',
    id: 'listTemplates',
    summary: 'List templates, the newest first, by labels.',
    tag: 'Templates',
    query: templateQuery,
    answers: { 200: ['A page of templates', 'ListTemplatesResponse'], 400: ['A filter cannot be read'] },
  },
  {
    method: 'get',
    path: '/v1/templates/{id}',
    id: 'getTemplate',
    summary: 'Read one template and how far it is.',
    tag: 'Templates',
    answers: { 200: ['The template', 'Template'], 404: ['No such template'] },
  },
  {
    method: 'delete',
    path: '/v1/templates/{id}',
    id: 'deleteTemplate',
    summary: 'Delete a template; sandboxes that were made from it stay.',
    tag: 'Templates',
    answers: { 204: ['It is gone'], 404: ['No such template'] },
  },
  {
    method: 'post',
    path: '/v1/metrics/events',
    id: 'reportMetricsEvent',
    summary: 'What SDKs report after a create.',
    tag: 'Server',
    body: 'MetricsEvent',
    answers: { 204: ['Taken'], 422: ['Not well formed'] },
  },
  {
    method: 'get',
    path: '/health',
    id: 'getHealth',
    summary: 'Whether the server answers.',
    tag: 'Server',
    answers: { 200: ['It does'] },
    open: true,
  },
  {
    method: 'get',
    path: '/version',
    id: 'getVersion',
    summary: 'The version of the server.',
    tag: 'Server',
    answers: { 200: ['The version'] },
    open: true,
  },
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
      description: 'Every path exists with the prefix /v1 and without it, but for /health and /version.',
    },
    paths,
    components: {
      schemas: Object.fromEntries(
        Object.entries(SCHEMAS).map(([name, schema]) => [name, jsonSchema(schema)]),
      ),
      securitySchemes: { apiKey: { type: 'apiKey', in: 'header', name: shapes.API_KEY_HEADER } },
    },
  }
}

function describe(operation: Operation): OpenApiOperation {
  const { path, id, summary, tag, body, query, answers, open } = operation
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
    parameters: [...inPath, ...(query ? queryParameters(query) : [])],
    ...(body && { requestBody: { required: true, ...content(body) } }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, [description, schema, text]]) => [
          status,
          Number(status) >= 400
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

function content(name?: keyof typeof SCHEMAS, text?: 'text') {
  return {
    content: {
      ...(name && { 'application/json': { schema: { $ref: `#/components/schemas/${name}` } } }),
      ...(text && { 'text/plain': { schema: { type: 'string' } } }),
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
