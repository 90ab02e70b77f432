// Time zones by name, as the variable TZ has them.

import type { Zone } from '../../lib/schedule.ts'

const SECOND = 1000

/** The zone of a name such as `Europe/Berlin`; undefined when there is none of it. */
export function zoneOf(name: string): Zone | undefined {
  let format: Intl.DateTimeFormat
  try {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: name.replace(/^:/, ''),
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    })
  } catch {
    return undefined // no such zone
  }
  return {
    offsetMs: (at) => {
      const parts = Object.fromEntries(
        format.formatToParts(at).map(({ type, value }) => [type, Number(value)]),
      )
      const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts
      const whole = Math.floor(at / SECOND) * SECOND
      return Date.UTC(year, month - 1, day, hour, minute, second) - whole
    },
  }
}
