// The moments that `expiresAt` may be written as (contract: lifecycle.md 3.4): RFC 3339, with any offset or none, which means
// UTC; a date alone; seconds since 1970, or milliseconds when the number is too large for seconds.

const ISO =
  /^(\d{4})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*(Z|z|[+-]\d{2}:?\d{2})?)?$/

/** Numbers above this are milliseconds. */
const MAX_SECONDS = 2e10
/** The first and last moments with a year of four digits. */
const FIRST = Date.UTC(0, 0, 1) - 1900 * 366 * 86_400_000
const LAST = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

/** Milliseconds since 1970, or undefined when the value names no moment. */
export function parseMoment(value: string | number): number | undefined {
  if (typeof value === 'number') return parseNumber(value)
  const text = value.trim()
  if (/^[+-]?\d{1,17}(\.\d{1,9})?$/.test(text)) return parseNumber(Number(text))
  const match = ISO.exec(text)
  if (!match) return undefined
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '0', zone = 'Z'] = match
  const parts = [year, month, day, hour, minute, second].map(Number)
  const [y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0] = parts
  const ms = Math.trunc(Number(`0.${fraction}`) * 1000)
  const date = new Date(0)
  date.setUTCFullYear(y, mo - 1, d)
  date.setUTCHours(h, mi, s, ms)
  // The platform turns 30 February into 1 March; a date that does not come back as it was written does not exist.
  const isReal =
    date.getUTCFullYear() === y &&
    date.getUTCMonth() === mo - 1 &&
    date.getUTCDate() === d &&
    h < 24 &&
    mi < 60 &&
    s < 60
  const offset = offsetMinutes(zone)
  if (!isReal || offset === undefined) return undefined
  return bounded(date.getTime() - offset * 60_000)
}

function offsetMinutes(zone: string): number | undefined {
  if (zone === 'Z' || zone === 'z') return 0
  const hours = Number(zone.slice(1, 3))
  const minutes = Number(zone.slice(-2))
  if (hours > 23 || minutes > 59) return undefined
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes)
}

function parseNumber(value: number): number | undefined {
  if (!Number.isFinite(value)) return undefined
  return bounded(Math.trunc(Math.abs(value) > MAX_SECONDS ? value : value * 1000))
}

function bounded(ms: number): number | undefined {
  return ms >= FIRST && ms <= LAST ? ms : undefined
}
