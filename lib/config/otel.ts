// Whether and where telemetry is sent (contract: v1.1.md 7.4). `headers` is an addition, for collectors that ask for a login.

import type { Settings } from './changes.ts'
import { type Check, headerName, headerValue, isTable } from './checks.ts'

export type OtelConfig = {
  /** Where the collector is, without the paths of the signals. */
  endpoint: string
  serviceName: string
  exportIntervalMs: number
  headers: Record<string, string>
}

const ignore = () => {}

/** Header names to values, all of which may be logins. */
export const headerTable: Check = {
  allowed: 'a table of HTTP headers and their values',
  isSecret: true,
  read(value) {
    if (!isTable(value)) return undefined
    const isSound = Object.entries(value).every(
      ([name, text]) =>
        headerName.read(name, ignore) !== undefined && headerValue.read(text, ignore) !== undefined,
    )
    return isSound ? value : undefined
  },
}

/** Absent when it is off. */
export function otelOf(settings: Settings): OtelConfig | undefined {
  const get = <T>(name: string) => settings.get(name) as T
  if (!get<boolean>('otel.enabled')) return undefined
  return {
    endpoint: get('otel.endpoint'),
    serviceName: get('otel.service_name'),
    exportIntervalMs: get('otel.export_interval_millis'),
    headers: get('otel.headers'),
  }
}

/** What is right by itself and wrong beside something else. `places` has where each given setting stands. */
export function findOtelProblems(settings: Settings, places: ReadonlyMap<string, string>): string[] {
  if (settings.get('otel.enabled') !== true || settings.get('otel.endpoint') !== undefined) return []
  return [
    `${places.get('otel.enabled') ?? 'Configuration'}: "otel.enabled" needs otel.endpoint beside it, the http or https URL of a collector, and there is none`,
  ]
}
