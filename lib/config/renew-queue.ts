// The queue in Redis by which gateways of the OpenSandbox project tell of traffic (contract: gateway.md 6, lifecycle.md 7.1). Ours
// tell control themselves: the queue is for whoever has others beside them, or listens to it.

import type { Settings } from './changes.ts'
import type { Check } from './checks.ts'

export type RenewQueueConfig = {
  dsn: string
  queueKey: string
  /** At most so many wait in it; without a bound when 0. */
  maxLength: number
  /** A sandbox is told of again after so long. */
  minIntervalMs: number
}

const DEFAULT_INTERVAL_SECONDS = 60

/** It may hold a password, so it is never shown. */
export const redisUrl: Check = {
  allowed: 'a redis:// or rediss:// URL',
  read: (v) => {
    const url = typeof v === 'string' && URL.canParse(v) ? new URL(v) : undefined
    const isFit =
      url && /^rediss?:$/.test(url.protocol) && url.hostname !== '' && /^\/?\d*$/.test(url.pathname)
    return isFit ? v : undefined
  },
  isSecret: true,
}

/** Absent when there is none. */
export function renewQueueOf(settings: Settings): RenewQueueConfig | undefined {
  const get = <T>(name: string) => settings.get(name) as T
  if (!get('renew_intent.redis.enabled')) return undefined
  return {
    dsn: get('renew_intent.redis.dsn'),
    queueKey: get('renew_intent.redis.queue_key'),
    maxLength: get('renew_intent.redis.queue_max_length'),
    minIntervalMs:
      (get<number | undefined>('renew_intent.min_interval_seconds') ?? DEFAULT_INTERVAL_SECONDS) * 1000,
  }
}

/** What is right by itself and wrong beside something else. `places` has where each given setting stands. */
export function findRenewQueueProblems(settings: Settings, places: ReadonlyMap<string, string>): string[] {
  const isOn = settings.get('renew_intent.redis.enabled') === true
  if (!isOn || settings.get('renew_intent.redis.dsn') !== undefined) return []
  return [
    `${places.get('renew_intent.redis.enabled') ?? 'Configuration'}: "renew_intent.redis.enabled" needs renew_intent.redis.dsn beside it, a redis:// URL, and there is none`,
  ]
}
