// Who asks, once it is known: a name for the audit, a role for what it may do, a tenant for what it may see.

import type { Role } from '../../lib/access.ts'

/** Whose everything is that nobody gave to a tenant. */
const DEFAULT_TENANT = 'default'

export type Principal = {
  /** The name of the key. */
  name: string
  role: Role
  /** Absent: the operator's, which sees every tenant. */
  tenant?: string
}

/** The caller of a server without any key, which answers this machine alone. */
export const LOCAL_PRINCIPAL: Principal = { name: 'local', role: 'admin' }

/** Who has the token of `metrics.token`: it is let in nowhere else. */
export const SCRAPER: Principal = { name: 'metrics', role: 'read-only' }

/** Whose something becomes that `principal` makes. */
export function ownTenant({ tenant }: Principal): string {
  return tenant ?? DEFAULT_TENANT
}

/** Whether `principal` may know of what belongs to `tenant`. */
export function maySee(principal: Principal, tenant: string): boolean {
  return principal.tenant === undefined || principal.tenant === tenant
}
