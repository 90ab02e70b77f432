// What decides who may do what, put together over one database.

import type { ConfiguredKey } from '../../lib/config/access.ts'
import type { SigningKeys } from '../../lib/signature.ts'
import { AuditLog } from '../store/audit.ts'
import type { Database } from '../store/database.ts'
import { KeyStore } from '../store/keys.ts'
import { QuotaStore } from '../store/quotas.ts'
import { Keyring, type KeySettings } from './keyring.ts'
import { type QuotaSettings, Quotas } from './quotas.ts'
import { RequestRate } from './request-rate.ts'
import type { TenantKeys } from './tenants/tenants.ts'

export type AccessSettings = {
  /** `server.api_key`. */
  apiKey?: string
  keys?: ConfiguredKey[]
  allowNoKey?: boolean
  tenants?: TenantKeys
  quotas?: QuotaSettings
  /** How many requests a tenant may send in a minute; without a bound when absent. */
  requestsPerMinute?: number
  /** Present when endpoints can be signed. */
  signing?: Signing
}

/** The keys that sign endpoints, and the letter of the one that does. */
export type Signing = { activeKey: string; keys: SigningKeys }

export type Access = {
  keyring: Keyring
  keys: KeyStore
  quotas: Quotas
  rate: RequestRate
  audit: AuditLog
  /** Present when endpoints can be signed. */
  readonly signing: Signing | undefined
  /** Takes the settings of a configuration that was read anew. */
  configure: (settings: AccessSettings) => void
}

const NO_QUOTAS: QuotaSettings = { default: {}, tenants: {} }

export function openAccess(database: Database, settings: AccessSettings, now: () => number): Access {
  const keys = new KeyStore(database)
  const keyring = new Keyring({ store: keys, now, ...keySettings(settings) })
  const quotas = new Quotas({
    store: new QuotaStore(database),
    settings: settings.quotas ?? NO_QUOTAS,
    now,
  })
  const rate = new RequestRate(settings.requestsPerMinute)
  let { signing } = settings
  return {
    get signing() {
      return signing
    },
    keys,
    keyring,
    quotas,
    rate,
    audit: new AuditLog(database),
    configure(changed) {
      keyring.configure(keySettings(changed))
      quotas.configure(changed.quotas ?? NO_QUOTAS)
      rate.configure(changed.requestsPerMinute)
      signing = changed.signing
    },
  }
}

function keySettings({ apiKey, keys, allowNoKey, tenants }: AccessSettings): KeySettings {
  return {
    ...(apiKey !== undefined && { apiKey }),
    ...(keys && { configured: keys }),
    ...(allowNoKey !== undefined && { allowNoKey }),
    ...(tenants && { tenants }),
  }
}
