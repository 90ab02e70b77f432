// Where telemetry goes and what it says of itself, from the sandbox's environment (contract: execd.md 9.2; the OTEL_ variables
// as OpenTelemetry has them). Pure. What is malformed is skipped: nobody's sandbox fails because of its telemetry.

import { isIP } from 'node:net'
import { VERSION } from '../../lib/version.ts'

const COLLECTOR_PORT = 4318
const METRICS_PATH = '/v1/metrics'
const DEFAULT_INTERVAL_MS = 60_000
const DEFAULT_TIMEOUT_MS = 10_000
const MAX_MS = 3_600_000

export type ExportConfig = {
  url: URL
  headers: Record<string, string>
  intervalMs: number
  timeoutMs: number
  /** What every point says. */
  attributes: Record<string, string>
  /** What the whole says. */
  resource: Record<string, string>
}

/** What to export to, or undefined when nothing names a collector. `hostInfo` is the text of the machine's file, if there is one. */
export function parseExportConfig(
  env: Record<string, string>,
  hostInfo: string | undefined,
): ExportConfig | undefined {
  const url = env.OTEL_SDK_DISABLED === 'true' ? undefined : findCollector(env, hostInfo)
  if (!url) return undefined
  const identity: Record<string, string> = env.OPENSANDBOX_ID ? { sandbox_id: env.OPENSANDBOX_ID } : {}
  return {
    url,
    headers: {
      ...parsePairs(env.OTEL_EXPORTER_OTLP_HEADERS, decode),
      ...parsePairs(env.OTEL_EXPORTER_OTLP_METRICS_HEADERS, decode),
    },
    intervalMs: parseMs(env.OTEL_METRIC_EXPORT_INTERVAL, DEFAULT_INTERVAL_MS),
    timeoutMs: parseMs(
      env.OTEL_EXPORTER_OTLP_METRICS_TIMEOUT ?? env.OTEL_EXPORTER_OTLP_TIMEOUT,
      DEFAULT_TIMEOUT_MS,
    ),
    attributes: { ...identity, ...parsePairs(env.OPENSANDBOX_EXECD_METRICS_EXTRA_ATTRS) },
    resource: { 'service.name': `opensandbox-execd-${VERSION}`, ...identity },
  }
}

function findCollector(env: Record<string, string>, hostInfo = ''): URL | undefined {
  // Each names it in turn; one that is there but wrong does not hide the next.
  return (
    toUrl(env.OTEL_EXPORTER_OTLP_METRICS_ENDPOINT) ??
    toUrl(env.OTEL_EXPORTER_OTLP_ENDPOINT, METRICS_PATH) ??
    toUrl(hostUrl(env.HOST_IP), METRICS_PATH) ??
    toUrl(hostUrl(hostInfo.split('\n').find((line) => isIP(line.trim()) !== 0)), METRICS_PATH)
  )
}

function hostUrl(text: string | undefined): string | undefined {
  const ip = text?.trim() ?? ''
  const version = isIP(ip)
  if (version === 0) return undefined
  return `http://${version === 6 ? `[${ip}]` : ip}:${COLLECTOR_PORT}`
}

function toUrl(text: string | undefined, path = ''): URL | undefined {
  if (!text) return undefined
  const url = URL.parse(text.trim().replace(/\/+$/, '') + path)
  return url?.protocol === 'http:' || url?.protocol === 'https:' ? url : undefined
}

function parsePairs(text = '', read: (value: string) => string = (value) => value): Record<string, string> {
  const pairs: Record<string, string> = {}
  for (const pair of text.split(',')) {
    const at = pair.indexOf('=')
    const name = pair.slice(0, Math.max(at, 0)).trim()
    if (name !== '') pairs[name] = read(pair.slice(at + 1).trim())
  }
  return pairs
}

function decode(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value // not encoded, though it should be
  }
}

function parseMs(text: string | undefined, fallback: number): number {
  const ms = /^\d{1,10}$/.test(text ?? '') ? Number(text) : 0
  return ms > 0 ? Math.min(ms, MAX_MS) : fallback
}
