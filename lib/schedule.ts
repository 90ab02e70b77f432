// Schedules of recurring work: five cron fields, `@hourly`, `@every <n>s` (contract: v1.1.md 1.3). Pure: time and time zone come
// in, the next moment comes out, so that control can refuse what execd could not run.
//
// A field is `*`, a number, a range `a-b`, or a list of these with commas; `/n` behind a range takes every n-th. Months and
// weekdays also have their English names, and Sunday is 0 and 7. When both days are restricted, either is enough, as everywhere.
// A time that a time zone skips when its clocks go forward is skipped; one that it has twice runs once, unless it runs every hour.

export type Schedule = { kind: 'every'; ms: number } | ({ kind: 'cron' } & CronFields)

type CronFields = {
  minutes: ReadonlySet<number>
  hours: ReadonlySet<number>
  days: ReadonlySet<number>
  months: ReadonlySet<number>
  weekdays: ReadonlySet<number>
}

/** What a time zone adds to UTC at a moment. */
export type Zone = { offsetMs(at: number): number }

export const UTC: Zone = { offsetMs: () => 0 }

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
/** The 29th of February may be eight years away. */
const LONGEST_SEARCH = 9 * 366 * DAY
const LONGEST_EVERY_SECONDS = 366 * 86_400

type FieldRule = { name: string; min: number; max: number; names?: readonly string[] }

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
const MINUTES: FieldRule = { name: 'minute', min: 0, max: 59 }
const HOURS: FieldRule = { name: 'hour', min: 0, max: 23 }
const DAYS: FieldRule = { name: 'day of the month', min: 1, max: 31 }
const MONTH: FieldRule = { name: 'month', min: 1, max: 12, names: ['', ...MONTHS] }
const WEEKDAY: FieldRule = { name: 'day of the week', min: 0, max: 7, names: WEEKDAYS }

/** Reads a schedule. Throws with what is wrong and what is allowed; the text itself is for the caller to show or not. */
export function parseSchedule(text: string): Schedule {
  const trimmed = text.trim()
  if (trimmed === '@hourly') return parseSchedule('0 * * * *')
  if (trimmed.startsWith('@')) {
    const seconds = Number(/^@every\s+(\d{1,9})s$/.exec(trimmed)?.[1])
    if (seconds >= 1 && seconds <= LONGEST_EVERY_SECONDS) return { kind: 'every', ms: seconds * 1000 }
    throw new Error(
      `must be five cron fields, "@hourly" or "@every <n>s" with n from 1 to ${LONGEST_EVERY_SECONDS}`,
    )
  }
  const fields = trimmed.split(/\s+/)
  if (fields.length !== 5)
    throw new Error(
      `must be five cron fields, "@hourly" or "@every <n>s": found ${trimmed === '' ? 'nothing' : `${fields.length} fields`}`,
    )
  const [minute = '', hour = '', day = '', month = '', weekday = ''] = fields
  const schedule: Schedule = {
    kind: 'cron',
    minutes: parseField(minute, MINUTES),
    hours: parseField(hour, HOURS),
    days: parseField(day, DAYS),
    months: parseField(month, MONTH),
    weekdays: new Set([...parseField(weekday, WEEKDAY)].map((each) => each % 7)),
  }
  if (nextRun(schedule, 0) === undefined) throw new Error('names no day that there is')
  return schedule
}

/** The first moment after `after` that the schedule names, in milliseconds since 1970; undefined when there is none. */
export function nextRun(schedule: Schedule, after: number, zone: Zone = UTC): number | undefined {
  if (schedule.kind === 'every') return after + schedule.ms
  const end = after + LONGEST_SEARCH
  let at = (Math.floor(after / MINUTE) + 1) * MINUTE
  while (at <= end) {
    const local = new Date(at + zone.offsetMs(at))
    const [year, month, day, hour] = [
      local.getUTCFullYear(),
      local.getUTCMonth(),
      local.getUTCDate(),
      local.getUTCHours(),
    ]
    // The next moment that may fit, and a minute later at least: where clocks are set, local times do not simply follow.
    const skipTo = (target: number) => {
      at = Math.max(at + MINUTE, momentOf(target, zone))
    }
    if (!schedule.months.has(month + 1)) skipTo(Date.UTC(year, month + 1, 1))
    else if (!isDayNamed(schedule, day, local.getUTCDay())) skipTo(Date.UTC(year, month, day + 1))
    else if (!schedule.hours.has(hour)) skipTo(Date.UTC(year, month, day, hour + 1))
    else if (!schedule.minutes.has(local.getUTCMinutes()) || isSecondTime(schedule, at, zone)) at += MINUTE
    else return at
  }
  return undefined
}

function isDayNamed({ days, weekdays }: CronFields, day: number, weekday: number): boolean {
  const anyDay = days.size === DAYS.max
  const anyWeekday = weekdays.size === WEEKDAYS.length
  if (anyDay || anyWeekday) return (anyDay || days.has(day)) && (anyWeekday || weekdays.has(weekday))
  return days.has(day) || weekdays.has(weekday)
}

/** Whether clocks have been set back lately, so that this local time has been before. What runs every hour goes on all the same. */
function isSecondTime({ hours }: CronFields, at: number, zone: Zone): boolean {
  if (hours.size === HOURS.max + 1) return false
  const before = zone.offsetMs(at - 3 * HOUR)
  const setBack = before - zone.offsetMs(at)
  return setBack > 0 && zone.offsetMs(at - setBack) === before
}

/** When a local time is, the first time if there are two; behind the gap when clocks skip it. */
function momentOf(local: number, zone: Zone): number {
  const early = local - zone.offsetMs(local - DAY)
  const late = local - zone.offsetMs(local + DAY)
  const fitting = [early, late].filter((at) => at + zone.offsetMs(at) === local)
  return fitting.length > 0 ? Math.min(...fitting) : Math.max(early, late)
}

function parseField(text: string, rule: FieldRule): Set<number> {
  const values = new Set<number>()
  for (const part of text.split(',')) {
    const [range = '', stepText, ...rest] = part.split('/')
    const step = stepText === undefined ? 1 : readNumber(stepText)
    const [first, last] = parseRange(range, rule, stepText !== undefined)
    const isSound = first >= rule.min && last <= rule.max && first <= last && step >= 1 && step <= rule.max
    if (!isSound || rest.length > 0)
      throw new Error(
        `has a wrong ${rule.name}: it must be "*", a number from ${rule.min} to ${rule.max}, a range such as "${rule.min}-${rule.max}", or "*/2"`,
      )
    for (let value = first; value <= last; value += step) values.add(value)
  }
  return values
}

/** First and last of a range; not numbers when it is none. */
function parseRange(text: string, rule: FieldRule, hasStep: boolean): [number, number] {
  if (text === '*') return [rule.min, rule.name === WEEKDAY.name ? rule.max - 1 : rule.max]
  const [first = '', last, ...rest] = text.split('-')
  if (rest.length > 0) return [Number.NaN, Number.NaN]
  const start = readValue(first, rule)
  // "5/15" is from 5 on.
  if (last === undefined) return [start, hasStep ? rule.max : start]
  return [start, readValue(last, rule)]
}

function readValue(text: string, { names }: FieldRule): number {
  const named = text === '' ? -1 : (names?.indexOf(text.toLowerCase()) ?? -1)
  return named >= 0 ? named : readNumber(text)
}

function readNumber(text: string): number {
  return /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN
}
