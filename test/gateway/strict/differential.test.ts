// Second opinions: where llhttp and nginx find other borders between messages than the gateway does, a reason must be written
// down (borders.ts). The same made-up requests each time; `npm run fuzz` makes others for as long as it is told.

import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { REFUSED_REQUESTS, UNDERSTOOD_REQUESTS } from './corpus.ts'
import { findLasting } from './fuzz.ts'
import { createRandom, LAST, makeCase } from './mutate.ts'
import { openLanes } from './opinions.ts'

const MADE_UP = 2500

async function findUnexplained(hasNginx: boolean): Promise<{ unexplained: unknown[]; cases: number }> {
  const random = createRandom(20_261_128)
  const cases = [
    ...[...REFUSED_REQUESTS, ...UNDERSTOOD_REQUESTS].map(({ bytes }) => `${bytes}${LAST}`),
    ...Array.from({ length: MADE_UP }, () => makeCase(random)),
  ]
  const { lanes, close } = await openLanes(6, hasNginx)
  const unexplained: unknown[] = []
  let next = 0
  await Promise.all(
    lanes.map(async (lane) => {
      for (let bytes = cases[next++]; bytes !== undefined; bytes = cases[next++])
        for (const found of await findLasting(lane, bytes))
          if (found.reason === undefined) unexplained.push({ ...found, bytes })
    }),
  )
  await close()
  return { unexplained, cases: cases.length }
}

test('llhttp and nginx find the same borders, or it is known why not', async () => {
  const hasNginx = spawnSync('nginx', ['-v']).error === undefined
  if (!hasNginx) console.log('nginx is not installed, so that its opinion is not asked')
  const { unexplained, cases } = await findUnexplained(hasNginx)
  expect(cases).toBeGreaterThan(MADE_UP)
  expect(unexplained).toEqual([])
})
