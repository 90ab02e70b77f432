// Tenants of a service that is asked for each key (contract: v1.1.md 7.3): GET with the key in its header, answered by 200 with
// the namespace and how long that holds, or by 401. What it said is kept that long, and some time longer while it cannot be
// asked. Times here are of a clock that nobody sets: a jump of the wall clock must not keep a key alive.

import { API_KEY_HEADER, hashKey } from '../../../lib/access.ts'
import { tenantName } from '../../../lib/config/access.ts'
import type { Tenant } from '../../../lib/config/tenants-file.ts'
import { Lanes } from '../../../lib/lanes.ts'
import type { Logger } from '../../../lib/log.ts'
import { sourceOf } from '../../../lib/source-of.ts'
import { refusal } from '../../errors.ts'
import type { TenantKeys } from './tenants.ts'

const TIMEOUT_MS = 5000
const DEFAULT_TTL_SECONDS = 30
/** How long a key that was refused is not asked for again: long enough that a client in a loop is no load. */
const REFUSED_MS = 5000
/**
 * After a silence the service is not asked for the same key for so long, and what is stale is answered, so that not every request waits
 * for the next one.
 */
const RETRY_MS = 2000
const MAX_KEPT = 10_000
/** So many keys are asked for at once; from one source half as many, so that who guesses leaves places to those who do not. */
const MAX_ASKING = 100
const MAX_ANSWER_BYTES = 64 * 1024

export type HttpTenantsOptions = {
  endpoint: string
  maxStaleSeconds: number
  auth?: { name: string; value: string }
  log: Logger
  timeoutMs?: number
  /** How many keys are remembered. */
  maxKept?: number
  /** Milliseconds of a clock that only goes forward. */
  clock?: () => number
}

type Known = { tenant: Tenant; freshUntil: number; staleUntil: number }

export function openHttpTenants(options: HttpTenantsOptions): TenantKeys {
  const { log, maxKept = MAX_KEPT, clock = () => performance.now() } = options
  const closing = new AbortController()
  const known = new Map<string, Known>()
  // Apart from those that were known, so that keys which somebody guesses do not push out those that are right.
  const refused = new Map<string, number>()
  /** Until when not to ask for keys of which the service has said nothing. */
  const silent = new Map<string, number>()
  const asking = new Map<string, Promise<Tenant | undefined>>()
  const places = new Lanes(MAX_ASKING)
  let isDown = false

  async function ask(key: string, hash: string): Promise<Tenant | undefined> {
    try {
      const answer = await askService(key, options, closing.signal)
      if (isDown) log.info('the provider of tenants answers again')
      isDown = false
      if (!answer) {
        known.delete(hash)
        keep(refused, hash, clock() + REFUSED_MS, maxKept)
        return undefined
      }
      const { tenant, ttlSeconds } = answer
      const freshUntil = clock() + ttlSeconds * 1000
      keep(
        known,
        hash,
        { tenant, freshUntil, staleUntil: freshUntil + options.maxStaleSeconds * 1000 },
        maxKept,
      )
      return tenant
    } catch (error) {
      if (closing.signal.aborted) throw unavailable(error)
      if (!isDown) log.error('the provider of tenants does not answer', { error })
      isDown = true
      keep(silent, hash, clock() + RETRY_MS, maxKept)
      return fallBack(known.get(hash), error)
    }
  }

  function fallBack(last: Known | undefined, error?: unknown): Tenant {
    if (last && clock() < last.staleUntil) return last.tenant
    throw unavailable(error)
  }

  return {
    async find(key, from = '') {
      const hash = hashKey(key)
      const last = known.get(hash)
      const now = clock()
      const isSilent = now < (silent.get(hash) ?? 0)
      if (last && (now < last.freshUntil || (isSilent && now < last.staleUntil))) {
        keep(known, hash, last, maxKept)
        return last.tenant
      }
      if (now < (refused.get(hash) ?? 0)) return undefined
      const running = asking.get(hash)
      if (running) return running
      const source = sourceOf(from)
      if (isSilent || !places.isOpenTo(source)) return fallBack(last)
      const leave = places.take(source)
      const asked = ask(key, hash).finally(() => {
        asking.delete(hash)
        leave()
      })
      asking.set(hash, asked)
      return asked
    },
    async close() {
      closing.abort()
      await Promise.allSettled(asking.values())
    },
  }
}

/** What the service says of a key; undefined when it is nobody's. Throws when it says nothing that can be understood. */
async function askService(
  key: string,
  { endpoint, auth, timeoutMs = TIMEOUT_MS }: HttpTenantsOptions,
  closing: AbortSignal,
): Promise<{ tenant: Tenant; ttlSeconds: number } | undefined> {
  const response = await fetch(endpoint, {
    headers: { [API_KEY_HEADER]: key, Accept: 'application/json', ...(auth && { [auth.name]: auth.value }) },
    // A key is sent to whom the operator named, and to nobody whom that one names.
    redirect: 'error',
    signal: AbortSignal.any([closing, AbortSignal.timeout(timeoutMs)]),
  })
  if (response.status !== 200) {
    await response.body?.cancel()
    if (response.status === 401) return undefined
    throw new Error(`it answered ${response.status}`)
  }
  return readAnswer(await readText(response))
}

/** Reads `{"namespace", "ttl"}`. Throws when it is something else. */
export function readAnswer(text: string): { tenant: Tenant; ttlSeconds: number } {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch (error) {
    throw new Error('its answer is no JSON', { cause: error })
  }
  const { namespace, ttl = DEFAULT_TTL_SECONDS } = (body ?? {}) as { namespace?: unknown; ttl?: unknown }
  if (tenantName.read(namespace, () => {}) === undefined)
    throw new Error(`"namespace" of its answer must be ${tenantName.allowed}`)
  const ttlSeconds = ttl ?? DEFAULT_TTL_SECONDS
  if (typeof ttlSeconds !== 'number' || ttlSeconds < 0)
    throw new Error('"ttl" of its answer must be a number of seconds from 0')
  const name = namespace as string
  return { tenant: { name, namespace: name }, ttlSeconds }
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body ?? []) {
    length += chunk.byteLength
    if (length > MAX_ANSWER_BYTES) throw new Error(`its answer is longer than ${MAX_ANSWER_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Keeps a value as the newest one, and lets the oldest go when there are too many. */
function keep<T>(kept: Map<string, T>, hash: string, value: T, most: number): void {
  kept.delete(hash)
  kept.set(hash, value)
  if (kept.size <= most) return
  const [oldest] = kept.keys()
  if (oldest !== undefined) kept.delete(oldest)
}

function unavailable(cause: unknown): Error {
  return refusal('TENANT_PROVIDER_UNAVAILABLE', 'Whose this API key is cannot be told at the moment', {
    headers: { 'Retry-After': '5' },
    cause,
  })
}
