// The one door through which routes come to a sandbox: what is another tenant's is not there, on no route.

import type { Context } from 'hono'
import { maySee } from '../access/principal.ts'
import type { AppEnv } from '../app-deps.ts'
import { notFound } from '../errors.ts'
import { requireSandbox } from '../sandbox/change.ts'
import type { Lives } from '../sandbox/lives.ts'
import type { SandboxRow } from '../store/rows.ts'
import type { PastSandbox } from '../store/sqlite.ts'

/** The sandbox that a route is about. Throws 404 for one of another tenant too: that it exists is not the caller's to know. */
export function visibleSandbox(context: Context<AppEnv>, lives: Pick<Lives, 'store'>): SandboxRow {
  const row = requireSandbox(lives, context.req.param('id') ?? '')
  if (!maySee(context.get('principal'), row.tenant)) throw notFound()
  return row
}

/** A sandbox, or what is still known of one that is gone. Throws 404 as `visibleSandbox` does. */
export function visibleSubject(
  context: Context<AppEnv>,
  lives: Pick<Lives, 'store'>,
): { id: string; row?: SandboxRow; past?: PastSandbox } {
  const id = context.req.param('id') ?? ''
  const row = lives.store.get(id)
  if (row && !row.hidden) return { id, row: visibleSandbox(context, lives) }
  const past = lives.store.past(id)
  if (!past || !maySee(context.get('principal'), past.tenant)) throw notFound()
  return { id, past }
}
