// What decides who may do what, put together over one database.

import { AuditLog } from '../store/audit.ts'
import type { Database } from '../store/database.ts'
import { KeyStore } from '../store/keys.ts'
import { QuotaStore } from '../store/quotas.ts'
import { type ConfiguredKey, Keyring } from './keyring.ts'
import { type QuotaSettings, Quotas } from './quotas.ts'

export type AccessSettings = {
  /** `server.api_key`. */
  apiKey?: string
  keys?: ConfiguredKey[]
  quotas?: QuotaSettings
}

export type Access = {
  keyring: Keyring
  keys: KeyStore
  quotas: Quotas
  audit: AuditLog
}

const NO_QUOTAS: QuotaSettings = { default: {}, tenants: {} }

export function openAccess(database: Database, settings: AccessSettings, now: () => number): Access {
  const keys = new KeyStore(database)
  return {
    keys,
    keyring: new Keyring({
      store: keys,
      now,
      ...(settings.apiKey !== undefined && { apiKey: settings.apiKey }),
      ...(settings.keys && { configured: settings.keys }),
    }),
    quotas: new Quotas({ store: new QuotaStore(database), settings: settings.quotas ?? NO_QUOTAS, now }),
    audit: new AuditLog(database),
  }
}
