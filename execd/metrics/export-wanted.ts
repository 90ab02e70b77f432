// Whether anybody may want execd's telemetry. This is asked at every start; all that follows from a yes is loaded only then.

import { existsSync } from 'node:fs'

/** Where a machine may tell its sandboxes its own address. */
export const HOST_INFO_FILE = '/etc/hostinfo'
const ENDPOINT_VARIABLES = [
  'OTEL_EXPORTER_OTLP_METRICS_ENDPOINT',
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'HOST_IP',
] as const

export function isExportWanted(env: Record<string, string>): boolean {
  return ENDPOINT_VARIABLES.some((name) => env[name]) || existsSync(HOST_INFO_FILE)
}
