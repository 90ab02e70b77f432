// Metrics as OTLP/HTTP has them in JSON (opentelemetry-proto, metrics/v1). Written by hand: the SDK for this takes 480 kB of code
// and 18 MB of memory in every sandbox that is watched, and this file and its neighbours take next to nothing. Pure.

import { toAttributes, toNanoseconds } from './format.ts'
import { type Attributes, BOUNDS, type Series } from './histogram.ts'

/** Counted from the start on, and not since the last export. */
const CUMULATIVE = 2

export type MetricValue = { value: number; attributes?: Attributes }

export type MetricData =
  | { name: string; unit: string; histogram: Series[]; bounds?: readonly number[] }
  | { name: string; unit?: string; gauge: MetricValue[] }
  | { name: string; unit?: string; counter: MetricValue[] }

export type MetricsExport = {
  metrics: MetricData[]
  /** Which program of ours counts, such as `opensandbox/execd`. */
  scope: string
  resource: Attributes
  /** What every point says beside its own. */
  attributes: Attributes
  startedAtMs: number
  nowMs: number
}

/** The body of an export. */
export function formatMetrics({
  metrics,
  scope,
  resource,
  attributes,
  startedAtMs,
  nowMs,
}: MetricsExport): object {
  const times = { startTimeUnixNano: toNanoseconds(startedAtMs), timeUnixNano: toNanoseconds(nowMs) }
  const point = (own: Attributes = {}) => ({ attributes: toAttributes({ ...attributes, ...own }), ...times })
  const numbers = (values: MetricValue[]) =>
    values.map((each) => ({
      ...point(each.attributes),
      ...(Number.isInteger(each.value) ? { asInt: String(each.value) } : { asDouble: each.value }),
    }))
  const isEmpty = (metric: MetricData) =>
    Object.values(metric).some((value) => Array.isArray(value) && value.length === 0)
  const toMetric = (metric: MetricData) => {
    const about = { name: metric.name, ...(metric.unit === undefined ? {} : { unit: metric.unit }) }
    if ('gauge' in metric) return { ...about, gauge: { dataPoints: numbers(metric.gauge) } }
    if ('counter' in metric)
      return {
        ...about,
        sum: {
          aggregationTemporality: CUMULATIVE,
          isMonotonic: true,
          dataPoints: numbers(metric.counter),
        },
      }
    return {
      ...about,
      histogram: {
        aggregationTemporality: CUMULATIVE,
        dataPoints: metric.histogram.map((series) => ({
          ...point(series.attributes),
          count: String(series.count),
          sum: series.sum,
          min: series.min,
          max: series.max,
          bucketCounts: series.buckets.map(String),
          explicitBounds: metric.bounds ?? BOUNDS,
        })),
      },
    }
  }
  return {
    resourceMetrics: [
      {
        resource: { attributes: toAttributes(resource) },
        scopeMetrics: [
          { scope: { name: scope }, metrics: metrics.filter((metric) => !isEmpty(metric)).map(toMetric) },
        ],
      },
    ],
  }
}
