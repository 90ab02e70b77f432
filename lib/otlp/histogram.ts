// A distribution of durations by attributes, as OpenTelemetry counts them: from the start on, in fixed buckets. An export that is
// lost takes nothing with it, as the next one says all of it again.

/** OpenTelemetry's own, in milliseconds. */
export const BOUNDS = [0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000]
/** As many different combinations are told apart; further ones are one. */
const MAX_SERIES = 1000

export type Attributes = Record<string, string | number | boolean>

export type Series = {
  attributes: Attributes
  count: number
  sum: number
  min: number
  max: number
  /** One for each bound, of values up to it and above the one before, and one for all above the last. */
  buckets: number[]
}

export class Histogram {
  readonly #bounds: readonly number[]
  readonly #series = new Map<string, Series>()

  constructor(bounds: readonly number[] = BOUNDS) {
    this.#bounds = bounds
  }

  record(value: number, attributes: Attributes): void {
    const series = this.#find(attributes)
    series.count++
    series.sum += value
    series.min = Math.min(series.min, value)
    series.max = Math.max(series.max, value)
    const at = this.#bounds.findIndex((bound) => value <= bound)
    const bucket = at < 0 ? this.#bounds.length : at
    series.buckets[bucket] = (series.buckets[bucket] ?? 0) + 1
  }

  get series(): Series[] {
    return [...this.#series.values()]
  }

  #find(attributes: Attributes): Series {
    const key = Object.values(attributes).join('\0')
    const known = this.#series.get(key)
    if (known) return known
    if (this.#series.size >= MAX_SERIES - 1 && attributes['otel.metric.overflow'] === undefined)
      return this.#find({ 'otel.metric.overflow': 'true' })
    const made: Series = {
      attributes,
      count: 0,
      sum: 0,
      min: Number.POSITIVE_INFINITY,
      max: Number.NEGATIVE_INFINITY,
      buckets: Array.from({ length: this.#bounds.length + 1 }, () => 0),
    }
    this.#series.set(key, made)
    return made
  }
}
