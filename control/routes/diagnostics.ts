import { Hono } from 'hono'
import {
  DIAGNOSTICS_SCOPES,
  type Diagnostics,
  eventsQuerySchema,
  logsQuerySchema,
  summaryQuerySchema,
} from '../../lib/api/diagnostics.ts'
import { formatTime } from '../../lib/api/lifecycle-parts.ts'
import type { AppEnv } from '../app-deps.ts'
import { queryOf, readQuery } from '../body.ts'
import { refusal } from '../errors.ts'
import { readLastOutput } from '../sandbox/last-output.ts'
import type { Lives } from '../sandbox/lives.ts'
import type { SandboxRow } from '../store/rows.ts'
import type { PastSandbox, Transition } from '../store/sqlite.ts'
import type { VolumeUse } from '../store/volumes.ts'
import { visibleSandbox, visibleSubject } from './visible.ts'

/** A line of a log is seldom longer than this on average; more is read than shown, and never more than this in all. */
const MAX_LOG_BYTES = 4 << 20
const TEXT = { 'Content-Type': 'text/plain; charset=utf-8' }

/**
 * What a sandbox printed and what happened to it (contract: lifecycle.md 5.10, v1.1.md 1.6), while it lives and for some time
 * after it is gone.
 */
export function diagnosticsRoutes(lives: Lives): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  const { store } = lives
  const factsOf = (row: SandboxRow) => formatFacts(row, store.volumes.usesOf(row.id))

  /** The last lines of the entrypoint's output, and whether there were more. */
  const readLog = async ({ id, past }: Subject, lines: number): Promise<Shown> => {
    const bytes = past ? store.pastLog(id) : await readLastOutput(lives, id, MAX_LOG_BYTES)
    return lastLines(bytes ? Buffer.from(bytes).toString('utf8') : '', lines)
  }
  const readEvents = ({ id }: Subject, limit: number): Shown => {
    const history = store.history(id, limit + 1)
    return { content: formatEvents(history.slice(-limit)), truncated: history.length > limit }
  }

  routes.get('/sandboxes/:id/diagnostics/logs', async (context) => {
    const given = queryOf(context).get('scope')
    const scope = given === null ? undefined : requireScope('logs', given)
    const { tail } = readQuery(context, logsQuerySchema)
    const subject = visibleSubject(context, lives)
    const shown = await readLog(subject, tail)
    if (scope === undefined)
      return context.text(shown.content || '(no logs)\n', 200, { ...TEXT, Deprecation: 'true' })
    return context.json(describe(subject.id, 'logs', scope, shown))
  })

  routes.get('/sandboxes/:id/diagnostics/events', (context) => {
    const given = queryOf(context).get('scope')
    const scope = given === null ? undefined : requireScope('events', given)
    const { limit } = readQuery(context, eventsQuerySchema)
    const subject = visibleSubject(context, lives)
    const shown = readEvents(subject, limit)
    if (scope === undefined)
      return context.text(shown.content || '(no events)\n', 200, { ...TEXT, Deprecation: 'true' })
    return context.json(describe(subject.id, 'events', scope, shown))
  })

  routes.get('/sandboxes/:id/diagnostics/inspect', (context) =>
    context.text(factsOf(visibleSandbox(context, lives)), 200, TEXT),
  )

  routes.get('/sandboxes/:id/diagnostics/summary', async (context) => {
    const query = readQuery(context, summaryQuerySchema)
    const row = visibleSandbox(context, lives)
    const events = readEvents({ id: row.id }, query.event_limit).content || '(no events)\n'
    const log = (await readLog({ id: row.id }, query.tail)).content || '(no logs)\n'
    return context.text(
      `== INSPECT ==\n${factsOf(row)}\n== EVENTS ==\n${events}\n== LOGS ==\n${log}`,
      200,
      TEXT,
    )
  })

  return routes
}

type Subject = { id: string; past?: PastSandbox }
type Shown = { content: string; truncated: boolean }

function describe(sandboxId: string, kind: Diagnostics['kind'], scope: string, shown: Shown): Diagnostics {
  return {
    sandboxId,
    kind,
    scope,
    delivery: 'inline',
    contentType: 'text/plain; charset=utf-8',
    content: shown.content,
    contentLength: Buffer.byteLength(shown.content),
    truncated: shown.truncated,
    // The contract sends a list with this scope; nothing is left out here.
    ...(scope === 'all' && { warnings: [] }),
  }
}

function lastLines(text: string, lines: number): Shown {
  let from = text.endsWith('\n') ? text.length - 1 : text.length
  for (let left = lines; left > 0 && from >= 0; left--) from = text.lastIndexOf('\n', from - 1)
  return from < 0 ? { content: text, truncated: false } : { content: text.slice(from + 1), truncated: true }
}

function requireScope(kind: 'logs' | 'events', given: string): string {
  const scope = given.trim().toLowerCase()
  const scopes: readonly string[] = DIAGNOSTICS_SCOPES[kind]
  if (!scopes.includes(scope))
    throw refusal('DIAGNOSTICS_SCOPE_UNSUPPORTED', `scope of ${kind} must be one of ${scopes.join(', ')}`)
  return scope
}

function formatEvents(history: Transition[]): string {
  const lines = history.map(
    ({ at, state, reason, message }) =>
      `${formatTime(at)} ${state}${reason ? ` ${reason}` : ''}${message ? `: ${message.replace(/\s+/g, ' ')}` : ''}`,
  )
  return lines.map((line) => `${line}\n`).join('')
}

// Only what is listed here is shown: no secret can slip in by being new.
function formatFacts(row: SandboxRow, volumes: readonly VolumeUse[]): string {
  const { memoryBytes, diskBytes, gpus } = row.limits
  const mounts = [
    ...row.mounts,
    ...volumes.map(({ name, target, readOnly }) => ({ target: `${target} = volume "${name}"`, readOnly })),
  ]
  const facts: Record<string, string> = {
    id: row.id,
    state: row.state,
    ...(row.reason && { reason: row.reason }),
    image: row.image,
    ...(row.imageDigest !== null && { 'image digest': row.imageDigest }),
    entrypoint: JSON.stringify(row.entrypoint),
    created: formatTime(row.createdAt),
    expires: row.expiresAt === null ? 'never' : formatTime(row.expiresAt),
    cpu: row.limits.nanoCpus === undefined ? 'no limit' : `${row.limits.nanoCpus / 1e9}`,
    memory: memoryBytes === undefined ? 'no limit' : `${memoryBytes} bytes`,
    disk: diskBytes === undefined ? 'no limit' : `${diskBytes} bytes`,
    ...(gpus !== undefined && { gpus: gpus < 0 ? 'all' : `${gpus}` }),
    mounts:
      mounts.map(({ target, readOnly }) => `${target}${readOnly ? ' (read-only)' : ''}`).join(', ') || 'none',
    'network policy': row.networkPolicy
      ? `default ${row.networkPolicy.defaultAction} at create`
      : "the operator's",
  }
  return Object.entries(facts)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join('')
}
