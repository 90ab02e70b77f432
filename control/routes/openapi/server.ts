import type { Operation } from './operation.ts'

export const SERVER_OPERATIONS: Operation[] = [
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
    answers: { 200: ['It does', 'Health'] },
    open: true,
  },
  {
    method: 'get',
    path: '/version',
    id: 'getVersion',
    summary: 'The version of the server.',
    tag: 'Server',
    answers: { 200: ['The version', 'Version'] },
    open: true,
  },
  {
    method: 'get',
    path: '/ready',
    id: 'getReadiness',
    summary: 'Whether the server can do its work: its database, its runtime, egress, and whether they agree.',
    tag: 'Server',
    answers: { 200: ['It can', 'Readiness'], 503: ['It cannot, and why', 'Readiness'] },
    open: true,
  },
  {
    method: 'get',
    path: '/metrics',
    id: 'getMetrics',
    summary:
      "Numbers for Prometheus, for the operator's keys and, as a bearer token, for the token of metrics.token.",
    tag: 'Server',
    answers: { 200: ['The text format of Prometheus', undefined, 'text'], 403: ["The key is a tenant's"] },
  },
  {
    method: 'get',
    path: '/openapi.json',
    id: 'getOpenApi',
    summary: 'This description, for programs.',
    tag: 'Server',
    answers: { 200: ['OpenAPI 3.1'] },
    open: true,
  },
  ...(['/docs', '/redoc'] as const).map(
    (path): Operation => ({
      method: 'get',
      path,
      id: `get${path === '/docs' ? 'Docs' : 'Redoc'}`,
      summary: 'This description, for people.',
      tag: 'Server',
      answers: { 200: ['A page', undefined, 'page'] },
      open: true,
    }),
  ),
]
