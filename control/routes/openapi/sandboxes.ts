import { z } from 'zod'
import { eventStreamQuerySchema, historyQuerySchema } from '../../../lib/api/events.ts'
import { listQuerySchema, SANDBOX_STATES } from '../../../lib/api/lifecycle.ts'
import type { Operation } from './operation.ts'

/** Both are read from the query itself: a state may come several times. */
const listQuery = listQuerySchema.extend({
  state: z.array(z.enum(SANDBOX_STATES)).optional(),
  metadata: z
    .string()
    .optional()
    .describe('Labels that must all fit, as "key=value&key2=value2", encoded once more'),
})

export const SANDBOX_OPERATIONS: Operation[] = [
  {
    method: 'post',
    path: '/v1/sandboxes',
    id: 'createSandbox',
    summary: 'Create a sandbox. Answers when it runs, or with Pending when its image takes long to fetch.',
    tag: 'Sandboxes',
    headers: {
      'Idempotency-Key': 'One create for each key, however often it is sent; 1 to 255 visible characters',
    },
    body: 'CreateSandboxRequest',
    answers: {
      202: ['The sandbox', 'CreateSandboxResponse'],
      400: ['Refused'],
      404: ['No such template or snapshot'],
      409: [
        'Deleted before it was ready, a snapshot that is not Ready, or the sandbox of the Idempotency-Key is gone',
      ],
      422: ['Not well formed, or the Idempotency-Key was sent before with another body'],
      429: ['The pool is empty, or the tenant asks too often: Retry-After says when to try again'],
      502: ['The registry of the image cannot be reached'],
      503: ['The server is stopping: Retry-After says when to try again'],
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
    path: '/v1/sandboxes/{id}/history',
    id: 'getSandboxHistory',
    summary: 'What happened to a sandbox, the newest last, also after it is gone.',
    tag: 'Sandboxes',
    query: historyQuerySchema,
    answers: { 200: ['The events', 'ListEventsResponse'], 404: ['No such sandbox'] },
  },
  {
    method: 'get',
    path: '/v1/events',
    id: 'streamEvents',
    summary:
      'What happens to sandboxes, as it happens: server-sent events whose data is an Event. Last-Event-ID, or after, resumes the stream.',
    tag: 'Sandboxes',
    query: eventStreamQuerySchema,
    headers: { 'Last-Event-ID': 'The id of the last event that was received' },
    answers: { 200: ['The stream; it does not end', undefined, 'events'] },
  },
]
