import type { Context } from 'hono'
import { API_KEY_HEADER } from '../../lib/access.ts'
import type { Keyring } from '../access/keyring.ts'
import type { AppEnv } from '../app-deps.ts'

/** Whether the key that opened a stream still opens: what happens after its end is not for its holder. */
export async function isStillIn(keyring: Keyring, context: Context<AppEnv>): Promise<boolean> {
  if (!keyring.isNeeded) return true
  const key = context.req.header(API_KEY_HEADER)
  try {
    const principal = key === undefined ? undefined : await keyring.find(key)
    return principal !== undefined && principal.tenant === context.get('principal').tenant
  } catch {
    return false // whose it is cannot be told; who comes back is told so
  }
}
