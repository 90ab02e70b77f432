// Looks after what egress has put into the kernel until it stops: puts back at once what another program has changed, and now and then
// looks whether all is there, for what nobody has told of.

import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../../lib/log.ts'
import { createForeignChanges } from './foreign-changes.ts'
import { monitor } from './monitor.ts'

export type Keeping = {
  table: string
  /** The program that changes our rules, by the name that only we call it. */
  nft: { path: string; name: string }
  /** Whether a generation of the rules was made by egress itself. */
  isOwn: (generation: number) => Promise<boolean>
  /** Makes the rules let nothing through, whatever is left of them. */
  close: () => Promise<void>
  /** Makes them what they must be. */
  repair: () => Promise<void>
  /** The host's routing; doing it twice changes nothing. */
  openRouting: () => Promise<void>
  /** Whether the table is there, as far as it is easily told; tells meanwhile what the kernel refused. */
  look: () => Promise<boolean>
  /** Whatever else must be done from time to time. */
  everyTime: () => Promise<void>
  log: Logger
  signal: AbortSignal
}

const LOOK_MS = 3000
/** At first sooner, as what follows the kernel takes a moment to begin. */
const FIRST_LOOK_MS = 250
const ROUTING_MS = 30_000
/** Between two repairs, so that another program that will not have our rules does not take the machine. */
const REST_MS = 100
/** A rule of the host's routing has gone. */
const DELETED_RULE = /^Deleted 90:/

/** Resolves when the signal is aborted and nothing is under way any more. */
export async function keepRules(keeping: Keeping): Promise<void> {
  const { table, nft, isOwn, log, signal } = keeping
  const repairing = createRepairs(keeping)
  const changes = createForeignChanges({ table, own: nft.name })
  const rerouting = createRerouting(keeping)
  await Promise.all([
    monitor({
      command: [nft.path, 'monitor'],
      onLine: (line) => {
        const generation = changes(line)
        if (generation === undefined) return
        void isOwn(generation).then((isOurs) => isOurs || repairing.begin())
      },
      onGap: () => repairing.begin(),
      log,
      signal,
    }),
    monitor({
      command: ['ip', 'monitor', 'rule'],
      onLine: (line) => {
        if (DELETED_RULE.test(line)) rerouting()
      },
      onGap: rerouting,
      log,
      signal,
    }),
    look(keeping, repairing),
  ])
  await repairing.done()
}

type Repairs = { begin(): void; done(): Promise<void> }

/** One after the other; what comes while one is under way asks for one more. */
function createRepairs({ table, close, repair, log, signal }: Keeping): Repairs {
  let isWanted = false
  let running: Promise<void> | undefined
  const work = async () => {
    while (isWanted && !signal.aborted) {
      isWanted = false
      try {
        await close()
        log.warn('the rules were removed by something else: putting them back', { table })
        await repair()
      } catch (error) {
        isWanted = true
        log.error('cannot put the rules back', { table, error })
      }
      await delay(REST_MS, undefined, { signal }).catch(() => {})
    }
    running = undefined
  }
  return {
    begin() {
      isWanted = true
      running ??= work()
    },
    done: () => running ?? Promise.resolve(),
  }
}

function createRerouting({ openRouting, log, signal }: Keeping): () => void {
  return () => {
    openRouting().catch((error) => {
      if (!signal.aborted) log.error('cannot put back how packets are led to egress', { error })
    })
  }
}

async function look(
  { look: isThere, openRouting, everyTime, log, signal }: Keeping,
  repairs: Repairs,
): Promise<void> {
  let routedAt = performance.now()
  let waitMs = FIRST_LOOK_MS
  while (!signal.aborted) {
    try {
      await delay(waitMs, undefined, { signal })
      waitMs = Math.min(waitMs * 2, LOOK_MS)
      if (await isThere()) await everyTime()
      else repairs.begin()
      if (performance.now() - routedAt < ROUTING_MS) continue
      routedAt = performance.now()
      await openRouting()
    } catch (error) {
      if (!signal.aborted) log.error('cannot look after the rules', { error })
    }
  }
}
