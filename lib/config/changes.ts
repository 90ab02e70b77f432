// What differs between two configurations, by name: the values may be secrets.

import { isDeepStrictEqual } from 'node:util'
import type { ConfiguredKey } from './access.ts'

/** Every setting with its value. */
export type Settings = ReadonlyMap<string, unknown>

/** The names of what differs, each key and each tenant by itself: `auth.keys.ci`, `quotas.tenants.red`. */
export function changesBetween(before: Settings, after: Settings): string[] {
  const [old, young] = [partsOf(before), partsOf(after)]
  return [...new Set([...old.keys(), ...young.keys()])]
    .filter((name) => !isDeepStrictEqual(old.get(name), young.get(name)))
    .sort()
}

function partsOf(settings: Settings): Map<string, unknown> {
  const parts = new Map<string, unknown>()
  for (const [name, value] of settings) {
    if (name === 'auth.keys')
      for (const key of value as ConfiguredKey[]) parts.set(`${name}.${key.name}`, key)
    else if (name === 'quotas.tenants')
      for (const [tenant, limits] of value as [string, unknown][]) parts.set(`${name}.${tenant}`, limits)
    else parts.set(name, value)
  }
  return parts
}
