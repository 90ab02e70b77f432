// Makes rows and reality agree, at the start and for ever. Rows are the truth about what should be, the runtime
// about what is. A list is only a hint that something differs: what is done is decided again in the sandbox's turn, with the
// row and the runtime's answer as they are then.
//
//   row          runtime              outcome
//   Pending      whatever             not acknowledged: gone; acknowledged: started anew, unless its registry login is lost
//   live         running, paused      the row follows
//   live         exited               Terminated or Failed
//   live         nothing, incomplete  Failed, what is left is removed
//   Stopping     whatever             removed, row deleted
//   ended        incomplete           what is left is removed
//   none         whatever             removed: an orphan

import { messageOf } from '../../lib/errors.ts'
import { eachOf, pause } from '../async.ts'
import type { RuntimeSandbox } from '../runtime/runtime.ts'
import type { SandboxRow, Standing } from '../store/rows.ts'
import { removeSandbox } from './change.ts'
import { beginStart } from './create.ts'
import { withLastOutput } from './last-output.ts'
import { type Lives, removeTimeoutMs, stepOf } from './lives.ts'
import { isLive, type Step } from './state.ts'
import { Wake } from './wake.ts'

const INSPECT_TIMEOUT_MS = 10_000
const LIST_TIMEOUT_MS = 30_000
/** So many sandboxes are looked at side by side. */
const WIDTH = 8

/** What one look at one sandbox found and did, for the log. */
export type Outcome = 'agrees' | 'changed' | 'removed' | 'restarted'

/** One pass over all rows and all sandboxes. Rejects when the runtime cannot list; a single sandbox's trouble is logged. */
export async function reconcile(lives: Lives): Promise<void> {
  const began = performance.now()
  const outcomes: Record<string, number> = {}
  let isFailed = true
  try {
    await lookAtAll(lives, (outcome) => {
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
    })
    isFailed = false
  } finally {
    lives.observer.passDone({ ms: performance.now() - began, isFailed, outcomes })
  }
}

async function lookAtAll(lives: Lives, count: (outcome: Outcome | 'failed') => void): Promise<void> {
  const { runtime, store, log } = lives
  const listed = await runtime.list(AbortSignal.any([lives.signal, AbortSignal.timeout(LIST_TIMEOUT_MS)]))
  const found = new Map(listed.map((sandbox) => [sandbox.id, sandbox]))
  const doubtful = new Set<string>()
  for (const row of store.standings()) {
    if (!agree(row, found.get(row.id)) && !lives.creating.has(row.id)) doubtful.add(row.id)
    found.delete(row.id)
  }
  for (const id of found.keys()) doubtful.add(id)
  await eachOf(doubtful, WIDTH, async (id) => {
    if (lives.signal.aborted || lives.turns.isBusy(id)) return
    try {
      const outcome = await reconcileOne(lives, id)
      count(outcome)
      if (outcome !== 'agrees') log.info('reconciled', { sandbox: id, outcome })
    } catch (error) {
      count('failed')
      log.error('could not reconcile; it is tried again', { sandbox: id, error: messageOf(error) })
      lives.doubts.add(id, lives.now())
    }
  })
}

/** Makes one sandbox's row and reality agree. */
async function reconcileOne(lives: Lives, id: string): Promise<Outcome> {
  const { store, runtime, turns, now, settings } = lives
  if (store.get(id)?.state === 'Stopping') {
    await removeSandbox(lives, id, store.get(id)?.reason ?? 'DELETE_REQUESTED')
    return 'removed'
  }
  const removeRest = () => runtime.remove(id, { graceMs: 0 }, AbortSignal.timeout(removeTimeoutMs(settings)))
  let restart: SandboxRow | undefined
  const outcome = await turns.take(id, async (): Promise<Outcome> => {
    const row = store.get(id)
    const real = await runtime.inspect(id, AbortSignal.timeout(INSPECT_TIMEOUT_MS))
    if (!row) {
      if (!real) return 'agrees'
      await removeRest()
      return 'removed'
    }
    if (agree(row, real)) return 'agrees'
    if (row.state === 'Pending') {
      // Nobody in this process makes it, or the turn would not be free: it is left from one that died.
      await removeRest()
      if (!row.acknowledged) {
        store.delete(id, { at: now(), isKnown: false })
        return 'removed'
      }
      if (row.hasImageAuth) {
        const message = 'The server was restarted while the image was fetched: create it again'
        store.change(id, (current) =>
          stepOf(current, 'start_failed', now(), { reason: 'PROVISIONING_ERROR', message, env: {} }),
        )
        return 'changed'
      }
      restart = row
      return 'restarted'
    }
    if (isLive(row.state)) {
      await follow(lives, row, real)
      if (!real || real.state === 'incomplete') await removeRest()
      return 'changed'
    }
    await removeRest()
    return 'removed'
  })
  if (restart) beginStart(lives, restart, { uri: restart.image })
  return outcome
}

/** Takes the end of a sandbox, as the runtime reports it, into its row. */
export async function recordExit(lives: Lives, sandbox: RuntimeSandbox): Promise<void> {
  await lives.turns.take(sandbox.id, async () => {
    const row = lives.store.get(sandbox.id)
    if (row && isLive(row.state)) await follow(lives, row, sandbox)
  })
}

/** Whether nothing is to be done. */
export function agree(row: Standing, real: RuntimeSandbox | undefined): boolean {
  switch (row.state) {
    case 'Running':
      return real?.state === 'running' && addressAgrees(row, real)
    case 'Paused':
      return real?.state === 'paused' && addressAgrees(row, real)
    case 'Terminated':
    case 'Failed':
      return !real || real.state === 'exited'
    default:
      return false
  }
}

function addressAgrees(row: Standing, real: RuntimeSandbox): boolean {
  return real.address === undefined || real.address === row.address
}

async function follow(lives: Lives, row: SandboxRow, real: RuntimeSandbox | undefined): Promise<void> {
  const { store, now, log } = lives
  const [step, reason, told] = stepTowards(real)
  const message = step === 'crashed' && told ? await withLastOutput(lives, row.id, told) : told
  const moved = real?.address !== undefined && real.address !== row.address
  const address = moved ? { address: real.address ?? null, generation: row.generation + 1 } : {}
  const sameState =
    (step === 'resumed' && row.state === 'Running') || (step === 'paused' && row.state === 'Paused')
  store.change(row.id, (current) =>
    sameState ? address : stepOf(current, step, now(), { reason, message: message ?? null, ...address }),
  )
  if (step === 'crashed' || step === 'exited' || step === 'lost')
    log.info('sandbox ended', { sandbox: row.id, reason, message })
}

function stepTowards(real: RuntimeSandbox | undefined): [Step, string, string?] {
  if (!real || real.state === 'incomplete')
    return ['lost', 'SANDBOX_LOST', 'The sandbox is not there any more; the machine may have been restarted']
  if (real.state === 'running') return ['resumed', 'CONTAINER_RUNNING']
  if (real.state === 'paused') return ['paused', 'CONTAINER_PAUSED']
  if (real.exitCode === 0)
    return ['exited', 'CONTAINER_EXITED', real.message ?? 'The entrypoint ended with code 0']
  const code = real.exitCode === undefined ? 'an unknown code' : `code ${real.exitCode}`
  return ['crashed', 'CONTAINER_EXITED_ERROR', real.message ?? `The entrypoint ended with ${code}`]
}

export type ReconcileLoopOptions = { everyMs?: number; firstPauseMs?: number }

/** Reconciles now and again, and takes reported ends into the rows, until `lives.signal` aborts. */
export async function runReconciler(
  lives: Lives,
  { everyMs = 30_000, firstPauseMs = 1000 }: ReconcileLoopOptions = {},
): Promise<void> {
  const wake = new Wake()
  await Promise.all([
    repeat(lives, { everyMs, firstPauseMs, wake }),
    follows(lives, firstPauseMs, wake),
    clearDoubts(lives),
  ])
}

/** `wake` is called when a pass is due now. */
async function repeat(
  lives: Lives,
  { everyMs, firstPauseMs, wake }: { everyMs: number; firstPauseMs: number; wake: Wake },
): Promise<void> {
  let pauseMs = firstPauseMs
  while (!lives.signal.aborted) {
    try {
      await reconcile(lives)
      pauseMs = everyMs
    } catch (error) {
      if (lives.signal.aborted) return
      lives.log.error('could not reconcile; it is tried again', { error: messageOf(error), inMs: pauseMs })
      pauseMs = Math.min(pauseMs * 2, everyMs)
    }
    await wake.wait(lives.signal, pauseMs)
  }
}

async function clearDoubts(lives: Lives): Promise<void> {
  const { doubts, signal, now } = lives
  const running = new Set<Promise<void>>()
  while (!signal.aborted) {
    for (const id of doubts.take(now(), WIDTH - running.size)) {
      // One that takes long holds up nobody but itself.
      const look = lookAgain(lives, id).finally(() => running.delete(look))
      running.add(look)
    }
    if (running.size >= WIDTH) await Promise.race(running)
    else await doubts.wait(now(), signal)
  }
  await Promise.all(running)
}

async function lookAgain(lives: Lives, id: string): Promise<void> {
  const { doubts, now, log } = lives
  try {
    const outcome = await reconcileOne(lives, id)
    doubts.settle(id)
    log.info('reconciled', { sandbox: id, outcome })
  } catch (error) {
    log.error('could not reconcile; it is tried again', { sandbox: id, error: messageOf(error) })
    doubts.add(id, now())
  }
}

async function follows(lives: Lives, pauseMs: number, wake: Wake): Promise<void> {
  while (!lives.signal.aborted) {
    try {
      for await (const event of lives.runtime.watch(lives.signal)) {
        if (event.type === 'returned') {
          wake.call()
          continue
        }
        const id = event.type === 'exited' ? event.sandbox.id : event.id
        // What was told of a change may be long over when its turn comes, so it is asked again; an end stays one.
        const written = event.type === 'exited' ? recordExit(lives, event.sandbox) : reconcileOne(lives, id)
        // One that is being removed has its turn taken, perhaps for long; the others are not to wait for it.
        written.catch((error) => {
          lives.log.error('what happened to a sandbox could not be written down yet', {
            sandbox: id,
            error: messageOf(error),
          })
          lives.doubts.add(id, lives.now())
        })
      }
    } catch (error) {
      if (lives.signal.aborted) return
      lives.log.error('the runtime stopped reporting ends; it is asked again', { error: messageOf(error) })
    }
    await pause(pauseMs, lives.signal)
  }
}
