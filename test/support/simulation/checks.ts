// What must be true once all is calm, looked up in the database and in the runtime.

import { replayEvents } from './model.ts'
import type { Simulation } from './simulation.ts'

export type PoolBounds = { bufferMin: number; bufferMax: number; poolMax: number }

/** Rows without sandboxes, sandboxes without rows, and states that differ. */
export function findDisagreements({ store, runtime }: Simulation): string[] {
  const rows = new Map(store.all().map((row) => [row.id, row]))
  const problems: string[] = []
  for (const [id, { state }] of runtime.things)
    if (!rows.has(id)) problems.push(`the runtime has ${id} (${state}), of which there is no row`)
  for (const [id, row] of rows) {
    const real = runtime.things.get(id)?.state
    const agrees =
      (row.state === 'Running' && real === 'running') ||
      (row.state === 'Paused' && real === 'paused') ||
      ((row.state === 'Failed' || row.state === 'Terminated') && (real === undefined || real === 'exited'))
    if (!agrees)
      problems.push(
        `${id} is ${row.state} in its row${row.hidden ? ', hidden' : ''}, and ${real ?? 'nothing'} in the runtime`,
      )
    if (agrees && row.hidden && !row.warm)
      problems.push(`${id} is hidden from everybody, and goes on as ${row.state}`)
  }
  return problems
}

/** What a pool has and should not, or has not and should. */
export function findPoolProblems({ store }: Simulation, pool: PoolBounds): string[] {
  const rows = store.all().filter((row) => row.pool !== null || row.warm)
  const warm = rows.filter((row) => row.warm)
  const live = rows.filter(({ state }) => state !== 'Failed' && state !== 'Terminated')
  const wanted = Math.min(pool.bufferMin, Math.max(pool.poolMax - (live.length - warm.length), 0))
  const problems: string[] = []
  if (warm.length < wanted) problems.push(`the pool has ${warm.length} warm, and wants ${wanted}`)
  if (warm.length > pool.bufferMax)
    problems.push(`the pool has ${warm.length} warm, and wants at most ${pool.bufferMax}`)
  if (live.length > pool.poolMax)
    problems.push(`the pool has ${live.length} in all, and may have ${pool.poolMax}`)
  for (const { id, state } of warm) if (state !== 'Running') problems.push(`${id} is warm, and ${state}`)
  return problems
}

/** Where the log of events, read by somebody who knows nothing else, tells something else than the rows. */
export function findLogProblems({ store }: Simulation): string[] {
  const events: ReturnType<typeof store.events.after> = []
  for (let last = 0; ; last = events.at(-1)?.id ?? 0) {
    const more = store.events.after(last, { limit: 10_000 })
    events.push(...more)
    if (more.length === 0) break
  }
  const { problems, states } = replayEvents(events)
  const rows = new Map(store.all().map((row) => [row.id, row]))
  for (const [id, state] of states) {
    const row = rows.get(id)
    if (!row || row.warm)
      problems.push(`${id} is ${state} in the log of events, and ${row ? 'warm' : 'gone'}`)
    else if (row.state !== state)
      problems.push(`${id} is ${state} in the log of events, and ${row.state} in its row`)
  }
  for (const row of rows.values())
    if (!row.warm && !states.has(row.id))
      problems.push(`${row.id} is not in the log of events, and ${row.state}`)
  return problems
}
