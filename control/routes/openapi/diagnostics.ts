import { z } from 'zod'
import {
  DIAGNOSTICS_SCOPES,
  eventsQuerySchema,
  logsQuerySchema,
  summaryQuerySchema,
} from '../../../lib/api/diagnostics.ts'
import type { Operation } from './operation.ts'

function scoped<Shape extends z.ZodRawShape>(kind: 'logs' | 'events', query: z.ZodObject<Shape>): z.ZodType {
  return query.extend({ scope: z.enum(DIAGNOSTICS_SCOPES[kind]).optional() })
}

export const DIAGNOSTICS_OPERATIONS: Operation[] = [
  {
    method: 'get',
    path: '/v1/sandboxes/{id}/diagnostics/logs',
    id: 'getSandboxLogs',
    summary: 'The last lines of what the entrypoint printed: JSON with a scope, plain text without.',
    tag: 'Diagnostics',
    query: scoped('logs', logsQuerySchema),
    answers: { 200: ['The lines', 'Diagnostics', 'text'], 400: ['No such scope'], 404: ['No such sandbox'] },
  },
  {
    method: 'get',
    path: '/v1/sandboxes/{id}/diagnostics/inspect',
    id: 'inspectSandbox',
    summary: 'Facts as plain text.',
    tag: 'Diagnostics',
    answers: { 200: ['Plain text', undefined, 'text'], 404: ['No such sandbox'] },
  },
  {
    method: 'get',
    path: '/v1/sandboxes/{id}/diagnostics/events',
    id: 'getSandboxEvents',
    summary: 'The states that a sandbox went through: JSON with a scope, plain text without.',
    tag: 'Diagnostics',
    query: scoped('events', eventsQuerySchema),
    answers: { 200: ['The events', 'Diagnostics', 'text'], 400: ['No such scope'], 404: ['No such sandbox'] },
  },
  {
    method: 'get',
    path: '/v1/sandboxes/{id}/diagnostics/summary',
    id: 'getSandboxSummary',
    summary: 'Facts and events as plain text.',
    tag: 'Diagnostics',
    query: summaryQuerySchema,
    answers: { 200: ['Plain text', undefined, 'text'], 404: ['No such sandbox'] },
  },
]
