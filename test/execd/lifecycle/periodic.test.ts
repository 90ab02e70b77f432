import { expect, test } from 'vitest'
import { type Clock, runPeriodically } from '../../../execd/lifecycle/periodic.ts'
import { parseSchedule, UTC } from '../../../lib/schedule.ts'

/** A clock whose time passes only when somebody sleeps; `at` lets things happen at a moment. */
function fakeClock(start: string) {
  let now = Date.parse(start)
  const events: { at: number; act: () => void }[] = []
  const slept: number[] = []
  const clock: Clock = {
    now: () => now,
    sleep: async (ms) => {
      slept.push(ms)
      const until = now + ms
      for (const event of events.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)) {
        events.splice(events.indexOf(event), 1)
        now = Math.max(now, event.at)
        event.act()
        for (let turn = 0; turn < 5; turn++) await Promise.resolve()
      }
      now = Math.max(now, until)
    },
  }
  return { clock, slept, at: (time: string, act: () => void) => events.push({ at: Date.parse(time), act }) }
}

/** Runs a schedule until a moment, each run taking so long, and tells what happened when. */
async function follow(
  text: string,
  { start, end, runMs = 0, jump }: { start: string; end: string; runMs?: number; jump?: [string, number] },
): Promise<string[]> {
  const told: string[] = []
  const stop = new AbortController()
  const { clock, at, slept } = fakeClock(start)
  const tell = (what: string) => told.push(`${new Date(clock.now()).toISOString().slice(11, 19)} ${what}`)
  at(end, () => stop.abort())
  // The sandbox is paused: time passes and nothing happens.
  if (jump) at(jump[0], () => void clock.sleep(jump[1], stop.signal))
  await runPeriodically({
    schedule: parseSchedule(text),
    zone: UTC,
    clock,
    signal: stop.signal,
    run: () => {
      tell('run')
      return new Promise((resolve) => {
        if (runMs === 0) resolve()
        else at(new Date(clock.now() + runMs).toISOString(), resolve)
      })
    },
    onSkip: () => tell('skip'),
  })
  expect(Math.max(...slept)).toBeLessThanOrEqual(3_600_000)
  return told
}

test('runs when it is due, first after one interval', async () => {
  expect(await follow('@every 30s', { start: '2026-01-01T00:00:05Z', end: '2026-01-01T00:01:50Z' })).toEqual([
    '00:00:35 run',
    '00:01:05 run',
    '00:01:35 run',
  ])
  expect(await follow('*/5 * * * *', { start: '2026-01-01T00:04:59Z', end: '2026-01-01T00:10:30Z' })).toEqual(
    ['00:05:00 run', '00:10:00 run'],
  )
})

test('skips what is due while a run still goes on, and keeps its times', async () => {
  const told = await follow('@every 10s', {
    start: '2026-01-01T00:00:00Z',
    end: '2026-01-01T00:01:05Z',
    runMs: 25_000,
  })
  expect(told).toEqual([
    '00:00:10 run',
    '00:00:20 skip',
    '00:00:30 skip',
    '00:00:40 run',
    '00:00:50 skip',
    '00:01:00 skip',
  ])
})

test('times that passed during a pause are one run', async () => {
  const told = await follow('@every 10s', {
    start: '2026-01-01T00:00:00Z',
    end: '2026-01-01T00:10:25Z',
    jump: ['2026-01-01T00:00:15Z', 600_000],
  })
  expect(told).toEqual(['00:00:10 run', '00:10:15 run', '00:10:25 run'].slice(0, told.length))
  expect(told.length).toBeGreaterThanOrEqual(2)
})

test('waits for long in pieces, as the clock may be set meanwhile', async () => {
  expect(await follow('0 12 * * *', { start: '2026-01-01T00:00:00Z', end: '2026-01-01T13:00:00Z' })).toEqual([
    '12:00:00 run',
  ])
})

test('ends at once when it is stopped before anything is due', async () => {
  expect(await follow('@hourly', { start: '2026-01-01T00:00:00Z', end: '2026-01-01T00:00:01Z' })).toEqual([])
})
