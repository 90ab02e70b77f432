// Spans as OTLP/HTTP has them in JSON (opentelemetry-proto, trace/v1). Pure.

import { toAttributes, toNanoseconds } from './format.ts'
import type { Attributes } from './histogram.ts'

const KINDS = { internal: 1, server: 2, client: 3 } as const

export type Span = {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  kind: keyof typeof KINDS
  /** Milliseconds since 1970, with fractions. */
  startMs: number
  endMs: number
  attributes: Attributes
  isFailed: boolean
}

export type TracesExport = {
  spans: Span[]
  /** Which program of ours tells it, such as `opensandbox/control`. */
  scope: string
  resource: Attributes
}

/** The body of an export. */
export function formatTraces({ spans, scope, resource }: TracesExport): object {
  return {
    resourceSpans: [
      {
        resource: { attributes: toAttributes(resource) },
        scopeSpans: [
          {
            scope: { name: scope },
            spans: spans.map((span) => ({
              traceId: span.traceId,
              spanId: span.spanId,
              ...(span.parentSpanId !== undefined && { parentSpanId: span.parentSpanId }),
              name: span.name,
              kind: KINDS[span.kind],
              startTimeUnixNano: toNanoseconds(span.startMs),
              endTimeUnixNano: toNanoseconds(span.endMs),
              attributes: toAttributes(span.attributes),
              // Unset unless it went wrong, as OpenTelemetry asks of instrumentation.
              status: span.isFailed ? { code: 2 } : {},
            })),
          },
        ],
      },
    ],
  }
}
