import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { zoneOf } from '../../execd/lifecycle/zone.ts'
import { nextRun, parseSchedule, UTC, type Zone } from '../../lib/schedule.ts'

function runs(text: string, from: string, count: number, zone: Zone = UTC): string[] {
  const schedule = parseSchedule(text)
  const found: string[] = []
  let at = Date.parse(from)
  for (let turn = 0; turn < count; turn++) {
    at = nextRun(schedule, at, zone) ?? Number.NaN
    found.push(new Date(at).toISOString().replace(':00.000Z', 'Z').replace('.000Z', 'Z'))
  }
  return found
}

describe('nextRun()', () => {
  test.each([
    ['* * * * *', '2026-01-01T00:00:30Z', ['2026-01-01T00:01Z', '2026-01-01T00:02Z']],
    ['*/15 * * * *', '2026-01-01T00:14:59Z', ['2026-01-01T00:15Z', '2026-01-01T00:30Z']],
    [
      '5/20 * * * *',
      '2026-01-01T00:00Z',
      ['2026-01-01T00:05Z', '2026-01-01T00:25Z', '2026-01-01T00:45Z', '2026-01-01T01:05Z'],
    ],
    ['0 0 * * *', '2026-12-31T00:00Z', ['2027-01-01T00:00Z']],
    [
      '30 9-17/4 * * *',
      '2026-01-01T00:00Z',
      ['2026-01-01T09:30Z', '2026-01-01T13:30Z', '2026-01-01T17:30Z', '2026-01-02T09:30Z'],
    ],
    ['0 12 1,15 * *', '2026-01-02T00:00Z', ['2026-01-15T12:00Z', '2026-02-01T12:00Z']],
    ['0 0 31 * *', '2026-01-31T00:00Z', ['2026-03-31T00:00Z', '2026-05-31T00:00Z']],
    ['0 0 29 2 *', '2096-03-01T00:00Z', ['2104-02-29T00:00Z']],
    // 2026-01-01 is a Thursday.
    ['0 0 * * mon-fri', '2026-01-02T00:00Z', ['2026-01-05T00:00Z', '2026-01-06T00:00Z']],
    ['0 0 * * 7', '2026-01-01T00:00Z', ['2026-01-04T00:00Z', '2026-01-11T00:00Z']],
    [
      '0 0 * * 5-7',
      '2026-01-01T00:00Z',
      ['2026-01-02T00:00Z', '2026-01-03T00:00Z', '2026-01-04T00:00Z', '2026-01-09T00:00Z'],
    ],
    ['0 0 13 * FRI', '2026-01-10T00:00Z', ['2026-01-13T00:00Z', '2026-01-16T00:00Z']],
    ['0 0 1 */6 *', '2026-01-01T00:00Z', ['2026-07-01T00:00Z', '2027-01-01T00:00Z']],
    ['0 0 1 Mar,oct *', '2026-01-01T00:00Z', ['2026-03-01T00:00Z', '2026-10-01T00:00Z']],
    [' 0\t0  * * * ', '2026-01-01T00:00Z', ['2026-01-02T00:00Z']],
    ['@hourly', '2026-01-01T00:00Z', ['2026-01-01T01:00Z', '2026-01-01T02:00Z']],
    ['@every 90s', '2026-01-01T00:00:10Z', ['2026-01-01T00:01:40Z', '2026-01-01T00:03:10Z']],
    ['@every 1s', '2026-01-01T00:00:00Z', ['2026-01-01T00:00:01Z']],
  ])('of %j from %s', (text, from, expected) => {
    expect(runs(text, from, expected.length)).toEqual(expected)
  })

  // Clocks in Berlin go from 2 to 3 on 2026-03-29 at 01:00 UTC, and from 3 to 2 on 2026-10-25 at 01:00 UTC.
  test.each([
    ['0 12 * * *', '2026-03-28T00:00Z', ['2026-03-28T11:00Z', '2026-03-29T10:00Z']],
    ['30 2 * * *', '2026-03-28T00:00Z', ['2026-03-28T01:30Z', '2026-03-30T00:30Z']],
    ['30 2 * * *', '2026-10-24T12:00Z', ['2026-10-25T00:30Z', '2026-10-26T01:30Z']],
    ['30 * * * *', '2026-10-24T23:45Z', ['2026-10-25T00:30Z', '2026-10-25T01:30Z', '2026-10-25T02:30Z']],
    ['0 0 1 * *', '2026-03-15T00:00Z', ['2026-03-31T22:00Z', '2026-04-30T22:00Z']],
  ])('of %j in Berlin from %s', (text, from, expected) => {
    expect(runs(text, from, expected.length, zoneOf('Europe/Berlin'))).toEqual(expected)
  })

  // In Havana midnight itself is what is skipped (2026-03-08) and what comes twice (2026-11-01).
  test.each([
    ['0 0 * * *', '2026-03-07T12:00Z', ['2026-03-09T04:00Z']],
    ['0 1 * * *', '2026-03-07T12:00Z', ['2026-03-08T05:00Z']],
    ['0 0 * * *', '2026-10-31T12:00Z', ['2026-11-01T04:00Z', '2026-11-02T05:00Z']],
  ])('of %j in Havana from %s', (text, from, expected) => {
    expect(runs(text, from, expected.length, zoneOf('America/Havana'))).toEqual(expected)
  })

  test('is what looking at every minute would find', () => {
    const field = (max: number, min = 0) =>
      fc.oneof(
        fc.constant('*'),
        fc.integer({ min, max }).map(String),
        fc.integer({ min: 1, max }).map((step) => `*/${step}`),
        fc
          .tuple(fc.integer({ min, max }), fc.integer({ min, max }))
          .map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
      )
    const lines = fc.tuple(field(59), field(23), field(28, 1), fc.constant('*'), field(6))
    const zones = fc.constantFrom(UTC, zoneOf('Europe/Berlin') ?? UTC, zoneOf('Asia/Kolkata') ?? UTC)
    const minutes = fc.integer({ min: 29_000_000, max: 30_000_000 })
    fc.assert(
      fc.property(lines, zones, minutes, (fields, zone, minute) => {
        const schedule = parseSchedule(fields.join(' '))
        const after = minute * 60_000
        const found = nextRun(schedule, after, zone)
        if (schedule.kind !== 'cron' || found === undefined) throw new Error('A cron line finds a time')
        const fits = (at: number) => {
          const local = new Date(at + zone.offsetMs(at))
          const day = schedule.days.has(local.getUTCDate())
          const weekday = schedule.weekdays.has(local.getUTCDay())
          const isEither = schedule.days.size < 31 && schedule.weekdays.size < 7
          return (
            schedule.minutes.has(local.getUTCMinutes()) &&
            schedule.hours.has(local.getUTCHours()) &&
            (isEither ? day || weekday : day && weekday)
          )
        }
        expect(fits(found)).toBe(true)
        // Up to a day of minutes, and without the hour that comes twice, which another test is about.
        for (let at = after + 60_000; at < Math.min(found, after + 86_400_000); at += 60_000)
          if (fits(at)) expect(zone.offsetMs(at - 3 * 3_600_000)).toBeGreaterThan(zone.offsetMs(at))
      }),
      { numRuns: 200 },
    )
  })
})

describe('parseSchedule() refuses', () => {
  test.each([
    ['', 'found nothing'],
    ['* * * *', 'found 4 fields'],
    ['* * * * * *', 'found 6 fields'],
    ['60 * * * *', 'has a wrong minute:'],
    ['* 24 * * *', 'has a wrong hour:'],
    ['* * 0 * *', 'has a wrong day of the month:'],
    ['* * 32 * *', 'has a wrong day of the month:'],
    ['* * * 13 *', 'has a wrong month:'],
    ['* * * * 8', 'has a wrong day of the week:'],
    ['* * * jann *', 'has a wrong month:'],
    ['5-1 * * * *', 'has a wrong minute:'],
    ['*/0 * * * *', 'has a wrong minute:'],
    ['*/x * * * *', 'has a wrong minute:'],
    ['1-2-3 * * * *', 'has a wrong minute:'],
    ['1/2/3 * * * *', 'has a wrong minute:'],
    ['1, * * * *', 'has a wrong minute:'],
    ['-1 * * * *', 'has a wrong minute:'],
    ['1.5 * * * *', 'has a wrong minute:'],
    ['* * * - *', 'has a wrong month:'],
    ['0 0 31 2 *', 'names no day that there is'],
    ['0 0 31 4,6,9,11 *', 'names no day that there is'],
    ['@daily', 'must be five cron fields'],
    ['@every 0s', 'must be five cron fields'],
    ['@every 1m', 'must be five cron fields'],
    ['@every 1.5s', 'must be five cron fields'],
    ['@every -1s', 'must be five cron fields'],
    ['@every 99999999s', 'must be five cron fields'],
    ['@every', 'must be five cron fields'],
  ])('%j: %s', (text, message) => {
    expect(() => parseSchedule(text)).toThrow(message)
  })

  test('or takes any text, in a moment', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          parseSchedule(text)
        } catch (error) {
          expect(error).toBeInstanceOf(Error)
        }
      }),
    )
  })
})

test.each(['Mars/Base', '', 'CET-1CEST,M3.5.0', '../etc'])('zoneOf(%j) knows no such zone', (name) => {
  expect(zoneOf(name)).toBeUndefined()
})

test.each([
  ['UTC', 0],
  ['Europe/Berlin', 3_600_000],
  [':Europe/Berlin', 3_600_000],
  ['Asia/Kolkata', 19_800_000],
  ['America/St_Johns', -12_600_000],
])('zoneOf(%j) is %i ahead in winter', (name, offset) => {
  expect(zoneOf(name)?.offsetMs(Date.parse('2026-01-15T12:34:56.789Z'))).toBe(offset)
})
