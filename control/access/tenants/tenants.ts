// Tenants that somebody else keeps, with their keys (contract: v1.1.md 7.3): a port with two servers, a file and a service.

import type { Tenant } from '../../../lib/config/tenants-file.ts'

export type TenantKeys = {
  /**
   * Whose a key is, or undefined when it is nobody's; `from` is the address of who sent it, if that is known. Throws ApiError 503 when
   * it cannot be told.
   */
  find(key: string, from?: string): Tenant | undefined | Promise<Tenant | undefined>
  /** Ends what follows the source, and resolves when it has ended. */
  close(): Promise<void>
}
