// Tenants of a file, which is followed while this runs: what is written there counts within two seconds. A file that cannot be
// read leaves everything as it was; one that is deleted leaves nobody.
//
// It is asked for again and again, because watching misses what is mounted, linked or renamed over. A change counts once it
// has stood for one interval, so that a file of which half is written is not taken for the whole.

import { readFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { hashKey } from '../../../lib/access.ts'
import { parseTenants, type TenantTable } from '../../../lib/config/tenants-file.ts'
import { ConfigError } from '../../../lib/config.ts'
import { messageOf, systemCodeOf } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/log.ts'
import type { TenantKeys } from './tenants.ts'

const INTERVAL_MS = 500
const ABSENT = 'absent'

export type FileTenantsOptions = {
  path: string
  log: Logger
  intervalMs?: number
}

/** Reads the file and follows it until it is closed. Throws ConfigError when it is not there, or wrong. */
export async function openFileTenants({
  path,
  log,
  intervalMs = INTERVAL_MS,
}: FileTenantsOptions): Promise<TenantKeys> {
  let seen = await fingerprintOf(path)
  if (seen === ABSENT) throw new ConfigError([`Cannot read the tenants "${path}": there is no such file`])
  let table = readTenants(path)
  const closing = new AbortController()
  const following = follow()

  async function follow(): Promise<void> {
    let before = seen
    while (!closing.signal.aborted) {
      await delay(intervalMs, undefined, { signal: closing.signal, ref: false }).catch(() => undefined)
      const found = await fingerprintOf(path)
      const hasSettled = found === before
      before = found
      if (closing.signal.aborted || found === seen || !hasSettled) continue
      seen = found
      take(found)
    }
  }

  function take(found: string): void {
    if (found === ABSENT) {
      table = new Map()
      log.warn('the file of tenants is gone: none of their keys opens any more', { path })
      return
    }
    try {
      table = readTenants(path)
      log.info('the file of tenants was read again', { path, tenants: namesOf(table).length })
    } catch (error) {
      log.error('the file of tenants cannot be read: it counts as it was before', {
        path,
        problems: error instanceof ConfigError ? error.problems : messageOf(error),
      })
    }
  }

  return {
    find: (key) => table.get(hashKey(key)),
    async close() {
      closing.abort()
      await following
    },
  }
}

/** The tenants of a file. Throws ConfigError. */
function readTenants(path: string): TenantTable {
  let source: string
  try {
    source = readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError([`Cannot read the tenants "${path}": ${messageOf(error)}`])
  }
  const { tenants, problems } = parseTenants(source, path)
  if (problems.length > 0) throw new ConfigError(problems)
  return tenants
}

function namesOf(table: TenantTable): string[] {
  return [...new Set([...table.values()].map(({ name }) => name))]
}

/** What changes whenever the file does. */
async function fingerprintOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
    return [ino, size, mtimeNs, ctimeNs].join(' ')
  } catch (error) {
    const code = systemCodeOf(error)
    return code === 'ENOENT' || code === 'ENOTDIR' ? ABSENT : `unreadable ${code}`
  }
}
