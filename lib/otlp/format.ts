// What metrics and traces have in common as OTLP's JSON writes it. Pure.

import type { Attributes } from './histogram.ts'

export function toAttributes(attributes: Attributes): object[] {
  return Object.entries(attributes).map(([key, value]) => ({
    key,
    value:
      typeof value === 'number'
        ? { intValue: String(value) }
        : typeof value === 'boolean'
          ? { boolValue: value }
          : { stringValue: value },
  }))
}

/** As text, because no number of JavaScript's is as large and as exact. */
export function toNanoseconds(ms: number): string {
  const whole = BigInt(Math.floor(ms)) * 1_000_000n
  return String(whole + BigInt(Math.floor((ms % 1) * 1e6)))
}
