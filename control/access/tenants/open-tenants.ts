import type { TenantsConfig } from '../../../lib/config/tenants.ts'
import type { Logger } from '../../../lib/log.ts'
import { openFileTenants } from './file-tenants.ts'
import { openHttpTenants } from './http-tenants.ts'
import type { TenantKeys } from './tenants.ts'

/** Opens what the configuration names. Throws ConfigError when it cannot be used. */
export async function openTenants(config: TenantsConfig, log: Logger): Promise<TenantKeys> {
  return config.provider === 'file'
    ? await openFileTenants({ path: config.path, log })
    : openHttpTenants({ ...config, log })
}
