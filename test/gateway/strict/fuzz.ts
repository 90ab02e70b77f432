// `npm run fuzz -- gateway`: made-up requests are read by the gateway, llhttp and nginx until the time is over, and every
// disagreement about the borders of messages that has no written reason is printed, with what makes it again.

import { spawnSync } from 'node:child_process'
import { type Disagreement, findDisagreements } from './borders.ts'
import { createRandom, makeCase } from './mutate.ts'
import { type Lane, openLanes, QUIET_MS } from './opinions.ts'

const LANES = 6
const MAX_SHOWN = 20

/** What is found for one case however long is waited, as a busy machine makes everybody slow. */
export async function findLasting(lane: Lane, bytes: string): Promise<Disagreement[]> {
  let found: Disagreement[] = []
  for (const quietMs of [QUIET_MS, 8 * QUIET_MS, 50 * QUIET_MS]) {
    found = findDisagreements(bytes, await lane.ask(bytes, quietMs))
    if (found.every(({ reason }) => reason !== undefined)) return found
    // What was late belongs to this case and not to the next.
    await lane.settle(quietMs)
  }
  return found
}

/** Resolves with how many disagreements have no reason. */
export async function fuzzGateway(seconds: number, seed: number): Promise<number> {
  const hasNginx = spawnSync('nginx', ['-v']).error === undefined
  if (!hasNginx) console.log('nginx is not installed, so that its opinion is not asked')
  const { lanes, close } = await openLanes(LANES, hasNginx)
  const random = createRandom(seed)
  const until = performance.now() + seconds * 1000
  const explained = new Map<string, number>()
  let cases = 0
  let unexplained = 0
  await Promise.all(
    lanes.map(async (lane) => {
      while (performance.now() < until) {
        const bytes = makeCase(random)
        cases++
        for (const { with: reader, what, reason } of await findLasting(lane, bytes)) {
          if (reason !== undefined) explained.set(reason, (explained.get(reason) ?? 0) + 1)
          else if (++unexplained <= MAX_SHOWN) console.log(`${reader}: ${what}: ${JSON.stringify(bytes)}`)
        }
      }
    }),
  )
  await close()
  for (const [reason, count] of explained) console.log(`${count} times: ${reason}`)
  console.log(
    `${cases} cases with seed ${seed} in ${seconds} s: ${unexplained} disagreements without a reason`,
  )
  return unexplained
}
