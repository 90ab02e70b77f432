import { expect, test } from 'vitest'
import { createCpuMeter, percentBetween } from '../../../execd/metrics/cpu-meter.ts'

const at = (atMs: number, usedMs: number, cpus = 1) => ({ atMs, usedMs, cpus })

test.each([
  ['half of one', at(0, 0), at(1000, 500), 50],
  ['half of two', at(0, 0, 2), at(1000, 1000, 2), 50],
  ['all of half a one', at(0, 0, 0.5), at(1000, 500, 0.5), 100],
  ['more than there is, as a limit counted in periods may show', at(0, 0), at(1000, 1100), 100],
  ['a counter that began anew', at(0, 900), at(1000, 10), 0],
  ['no time at all', at(5, 1), at(5, 2), 0],
])('percentBetween() of %s', (_what, from, to, percent) => {
  expect(percentBetween(from, to)).toBe(percent)
})

/** A machine of two CPUs of which one is always busy, whose clock only moves when somebody sleeps. */
function machine() {
  let ms = 0
  const slept: number[] = []
  const pass = (by: number) => {
    ms += by
  }
  const meter = createCpuMeter({
    read: () => at(ms, ms, 2),
    sleep: (by) => {
      slept.push(by)
      pass(by)
      return Promise.resolve()
    },
  })
  return { meter, pass, slept }
}

test('S5: whoever asks regularly is answered at once, by the time since the last answer', async () => {
  const { meter, pass, slept } = machine()
  expect(await meter()).toEqual({ cpus: 2, percent: 50 })
  expect(slept).toEqual([100])
  for (let turn = 0; turn < 5; turn++) {
    pass(1000)
    expect((await meter()).percent).toBe(50)
  }
  expect(slept).toEqual([100])
})

test('those who ask together get one sample', async () => {
  const { meter, slept } = machine()
  await Promise.all([meter(), meter(), meter()])
  expect(await meter()).toEqual({ cpus: 2, percent: 50 })
  expect(slept).toEqual([100])
})

test('after long a new sample is taken, because an average of an hour says nothing', async () => {
  const { meter, pass, slept } = machine()
  await meter()
  pass(3_600_000)
  await meter()
  expect(slept).toEqual([100, 100])
})
