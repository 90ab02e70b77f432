// Which tenant a request is about, for the routes on which that can be another than its caller's.

import { tenantName } from '../../lib/api/admin.ts'
import { maySee, type Principal } from '../access/principal.ts'
import { invalid } from '../body.ts'
import { refusal } from '../errors.ts'

/** The tenant that stands at `place` of a request. Throws 422 when it is no name, 403 when it is not the caller's to name. */
export function readTenant(
  principal: Principal,
  given: string | undefined,
  place: ['path' | 'query', string],
): string {
  const name = tenantName.safeParse(given)
  if (!name.success) throw invalid([{ type: 'value_error', loc: place, msg: 'must be the name of a tenant' }])
  requireTenant(principal, name.data)
  return name.data
}

/** Throws 403 when a tenant is not the caller's to name. */
export function requireTenant(principal: Principal, tenant: string): void {
  if (!maySee(principal, tenant))
    throw refusal('GENERAL::FORBIDDEN', 'That tenant is not the one of this key')
}

/** Throws 403 for the key of a tenant; `why` says what is the operator's. */
export function requireOperator({ name, tenant }: Principal, why: string): void {
  if (tenant !== undefined) throw refusal('GENERAL::FORBIDDEN', `The key "${name}" is a tenant's: ${why}`)
}
