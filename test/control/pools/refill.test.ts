import { describe, expect, test } from 'vitest'
import { decideRefill, type PoolCounts } from '../../../control/pools/refill.ts'

const counts = (change: Partial<PoolCounts> = {}): PoolCounts => ({
  allocated: 0,
  buffer: 0,
  leaving: 0,
  isFilling: false,
  ...change,
})

describe('decideRefill()', () => {
  // bufferMin, bufferMax, poolMin, poolMax
  test.each<[string, [number, number, number, number], Partial<PoolCounts>, number, number]>([
    ['an empty pool is filled to the middle', [2, 4, 0, 10], {}, 3, 0],
    ['one within its bounds is left alone, at the lower', [2, 4, 0, 10], { buffer: 2 }, 0, 0],
    ['and at the upper', [2, 4, 0, 10], { buffer: 4 }, 0, 0],
    ['below its bounds it is filled to the middle', [2, 4, 0, 10], { buffer: 1 }, 2, 0],
    ['and on to the middle once that has begun', [1, 9, 0, 10], { buffer: 4, isFilling: true }, 1, 0],
    ['which ends there', [1, 9, 0, 10], { buffer: 6, isFilling: true }, 0, 0],
    ['above them it shrinks to the middle', [2, 4, 0, 10], { buffer: 6 }, 0, 3],
    ['poolMax stands above the buffer', [5, 5, 0, 3], {}, 3, 0],
    ['claimed ones take places', [5, 5, 0, 6], { allocated: 4 }, 2, 0],
    ['those that leave take places until they are gone', [3, 3, 0, 3], { leaving: 2 }, 1, 0],
    ['a full pool makes none', [2, 2, 0, 4], { allocated: 4 }, 0, 0],
    [
      'more are claimed than there may be since poolMax was lowered',
      [2, 2, 0, 2],
      { allocated: 4, buffer: 1 },
      0,
      1,
    ],
    ['poolMin is kept although the buffer is enough', [0, 0, 3, 10], {}, 3, 0],
    ['claimed ones count for poolMin', [0, 0, 3, 10], { allocated: 2 }, 1, 0],
    ['poolMin keeps more warm than bufferMax', [1, 1, 4, 10], { buffer: 4 }, 0, 0],
    ['a pool of nothing', [0, 0, 0, 0], {}, 0, 0],
    ['a pool that became nothing', [0, 0, 0, 0], { buffer: 2 }, 0, 2],
  ])('%s', (_name, [bufferMin, bufferMax, poolMin, poolMax], change, make, spare) => {
    expect(decideRefill({ bufferMin, bufferMax, poolMin, poolMax }, counts(change))).toEqual({ make, spare })
  })

  test('comes to rest: what it decides, done, needs nothing more', () => {
    for (let bufferMin = 0; bufferMin <= 4; bufferMin++)
      for (let bufferMax = bufferMin; bufferMax <= 4; bufferMax++)
        for (let poolMax = 0; poolMax <= 6; poolMax++)
          for (let poolMin = 0; poolMin <= poolMax; poolMin++)
            for (let buffer = 0; buffer <= 6; buffer++)
              for (let allocated = 0; allocated <= 4; allocated++) {
                const capacity = { bufferMin, bufferMax, poolMin, poolMax }
                const { make, spare } = decideRefill(capacity, counts({ buffer, allocated }))
                const after = counts({ buffer: buffer + make - spare, allocated })
                const where = JSON.stringify({ capacity, buffer, allocated })
                expect(decideRefill(capacity, after), where).toEqual({ make: 0, spare: 0 })
                if (make > 0) expect(after.buffer + allocated, where).toBeLessThanOrEqual(poolMax)
              }
  })
})
