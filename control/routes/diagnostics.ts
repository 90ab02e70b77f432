import { Hono } from 'hono'
import { z } from 'zod'
import type { Diagnostics } from '../../lib/api/lifecycle.ts'
import { formatTime } from '../../lib/api/lifecycle.ts'
import { integer } from '../../lib/api/lifecycle-coerce.ts'
import type { AppEnv } from '../app.ts'
import { queryOf, readQuery } from '../body.ts'
import { refusal } from '../errors.ts'
import type { Lives } from '../sandbox/lives.ts'
import type { SandboxRow, Transition } from '../store/sqlite.ts'
import { visibleSandbox } from './visible.ts'

const EVENTS = 50
const TEXT = { 'Content-Type': 'text/plain; charset=utf-8' }
const limitSchema = z.object({ limit: integer(1, 500).default(EVENTS) })
const summarySchema = z.object({
  event_limit: integer(1, 500).default(20),
  tail: integer(1, 10_000).default(50),
})
const SCOPES = { logs: ['container', 'all'], events: ['runtime', 'all'] }

/** What happened to a sandbox (contract: lifecycle.md 5.10, v1.1.md 1.6): the history of its states. Logs are not kept yet. */
export function diagnosticsRoutes(lives: Lives): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()

  routes.get('/sandboxes/:id/diagnostics/logs', (context) => {
    const scope = queryOf(context).get('scope')
    if (scope !== null) requireScope('logs', scope)
    visibleSandbox(context, lives)
    throw refusal(
      'DIAGNOSTICS_NOT_IMPLEMENTED',
      'This runtime keeps no logs: the output of commands is read from execd',
    )
  })

  routes.get('/sandboxes/:id/diagnostics/events', (context) => {
    const given = queryOf(context).get('scope')
    const scope = given === null ? undefined : requireScope('events', given)
    const { limit } = readQuery(context, limitSchema)
    const row = visibleSandbox(context, lives)
    const content = formatEvents(lives.store.history(row.id, limit))
    if (scope === undefined) return context.text(content, 200, { ...TEXT, Deprecation: 'true' })
    const diagnostics: Diagnostics = {
      sandboxId: row.id,
      kind: 'events',
      scope,
      delivery: 'inline',
      contentType: 'text/plain; charset=utf-8',
      content,
      contentLength: Buffer.byteLength(content),
      truncated: lives.store.history(row.id, limit + 1).length > limit,
    }
    return context.json(diagnostics)
  })

  routes.get('/sandboxes/:id/diagnostics/inspect', (context) =>
    context.text(formatFacts(visibleSandbox(context, lives)), 200, TEXT),
  )

  routes.get('/sandboxes/:id/diagnostics/summary', (context) => {
    const query = readQuery(context, summarySchema)
    const row = visibleSandbox(context, lives)
    const events = formatEvents(lives.store.history(row.id, query.event_limit))
    return context.text(
      `== INSPECT ==\n${formatFacts(row)}\n== EVENTS ==\n${events}\n== LOGS ==\n(not kept by this runtime)\n`,
      200,
      TEXT,
    )
  })

  return routes
}

function requireScope(kind: 'logs' | 'events', given: string): string {
  const scope = given.trim().toLowerCase()
  if (!SCOPES[kind].includes(scope))
    throw refusal(
      'DIAGNOSTICS_SCOPE_UNSUPPORTED',
      `scope of ${kind} must be one of ${SCOPES[kind].join(', ')}`,
    )
  return scope
}

function formatEvents(history: Transition[]): string {
  const lines = history.map(
    ({ at, state, reason, message }) =>
      `${formatTime(at)} ${state}${reason ? ` ${reason}` : ''}${message ? `: ${message.replace(/\s+/g, ' ')}` : ''}`,
  )
  return lines.length > 0 ? `${lines.join('\n')}\n` : '(no events)\n'
}

// Only what is listed here is shown: no secret can slip in by being new.
function formatFacts(row: SandboxRow): string {
  const facts: Record<string, string> = {
    id: row.id,
    state: row.state,
    ...(row.reason && { reason: row.reason }),
    image: row.image,
    entrypoint: JSON.stringify(row.entrypoint),
    created: formatTime(row.createdAt),
    expires: row.expiresAt === null ? 'never' : formatTime(row.expiresAt),
    cpu: row.limits.nanoCpus === undefined ? 'no limit' : `${row.limits.nanoCpus / 1e9}`,
    memory: row.limits.memoryBytes === undefined ? 'no limit' : `${row.limits.memoryBytes} bytes`,
    mounts:
      row.mounts.map(({ target, readOnly }) => `${target}${readOnly ? ' (read-only)' : ''}`).join(', ') ||
      'none',
    'network policy': row.networkPolicy
      ? `default ${row.networkPolicy.defaultAction} at create`
      : "the operator's",
  }
  return Object.entries(facts)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join('')
}
