import type { Context } from 'hono'
import { maySee } from '../access/principal.ts'
import type { AppEnv } from '../app.ts'
import { notFound } from '../errors.ts'
import { requireSandbox } from '../sandbox/change.ts'
import type { Lives } from '../sandbox/lives.ts'
import type { SandboxRow } from '../store/sqlite.ts'

/** The sandbox that a route is about. Throws 404 for one of another tenant too: that it exists is not the caller's to know. */
export function visibleSandbox(context: Context<AppEnv>, lives: Pick<Lives, 'store'>): SandboxRow {
  const row = requireSandbox(lives, context.req.param('id') ?? '')
  if (!maySee(context.get('principal'), row.tenant)) throw notFound()
  return row
}
