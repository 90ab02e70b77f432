// Hooks of the sandbox's life (contract: v1.1.md 1.3, 2.5): one before the entrypoint, without whose success there is none, and
// those that run by a schedule while the sandbox runs. Loaded only when there are any.

import { join } from 'node:path'
import { LIFECYCLE_VARIABLE } from '../../lib/api/lifecycle-hooks.ts'
import { messageOf } from '../../lib/errors.ts'
import { UTC, type Zone } from '../../lib/schedule.ts'
import { Journal } from '../command/journal.ts'
import { ownedEnvironment } from '../command/marks.ts'
import { StartError } from '../command/process.ts'
import type { ProcessScanner } from '../command/process-scanner.ts'
import type { State } from '../state.ts'
import { makeWorkdir } from '../supervise.ts'
import type { Surroundings } from '../surroundings.ts'
import { type HooksConfig, parseHooks } from './config.ts'
import { type HookContext, runHook } from './hook.ts'
import { realClock, runPeriodically } from './periodic.ts'
import { zoneOf } from './zone.ts'

const LOG_BYTES = 256 << 10
/** From TERM to KILL for a hook whose time is over. */
const GRACE_MS = 2000
const FAILED_EXIT_CODE = 1

export type LifecycleOptions = {
  /** The text of the variable. */
  hooks: string
  surroundings: Surroundings
  scanner: ProcessScanner
  state: State
}

export type Lifecycle = {
  /** Runs what comes before the entrypoint, once in all lives of execd. Rejects with StartError when there is to be no entrypoint. */
  preStart(signal: AbortSignal): Promise<void>
  /** Begins with what runs by a schedule. */
  startPeriodic(): void
  /** Ends all of it: TERM, and KILL after the grace. */
  endAll(graceMs: number): Promise<void>
}

/** Reads the hooks. Throws StartError when they make no sense. */
export function openLifecycle({ hooks, surroundings, scanner, state }: LifecycleOptions): Lifecycle {
  const { log, dir, user, workdir } = surroundings
  const config = readHooks(hooks)
  const stop = new AbortController()
  const runs = new Set<Promise<void>>()
  let lastGraceMs = GRACE_MS
  const contextOf = (index: number, signal: AbortSignal): HookContext => ({
    surroundings,
    scanner,
    signal,
    graceMs: () => lastGraceMs,
    journal: Journal.restore({ path: join(dir, 'hooks', `${index}.log`), maxBytes: () => LOG_BYTES }),
  })

  return {
    preStart: async (signal) => {
      const hook = config.preStart
      const { before } = state
      if (!hook || before.preStart === 'done' || before.entrypoint) return
      if (before.preStart) throw failure('execd was ended while it ran')
      makeWorkdir(workdir, user)
      state.note({ preStart: 'begun' })
      const startedAt = performance.now()
      const end = await runHook(hook, contextOf(0, signal))
      if (!end.ok) throw failure(end.problem)
      state.note({ preStart: 'done' })
      log.info('hook before the entrypoint ended well', { ms: Math.round(performance.now() - startedAt) })
    },

    startPeriodic: () => {
      if (config.periodic.length === 0) return
      const zone = readZone()
      for (const [index, hook] of config.periodic.entries()) {
        // What a later life finds of this one's runs it ends, so that no two of a hook are ever at work.
        const context = {
          ...contextOf(index + 1, stop.signal),
          env: ownedEnvironment(surroundings, 'lifecycle'),
        }
        const run = async () => {
          try {
            const end = await runHook(hook, context)
            if (!end.ok && !stop.signal.aborted)
              log.warn('hook failed', { hook: hook.name, problem: end.problem })
          } catch (error) {
            log.error('hook could not be run', { hook: hook.name, error: messageOf(error) })
          }
        }
        void runPeriodically({
          schedule: hook.schedule,
          zone,
          clock: realClock,
          signal: stop.signal,
          run: () => {
            const done = run().finally(() => runs.delete(done))
            runs.add(done)
            return done
          },
          onSkip: () => log.info('hook is still running, so this run is skipped', { hook: hook.name }),
        })
      }
    },

    endAll: async (graceMs) => {
      lastGraceMs = graceMs
      stop.abort()
      await Promise.all(runs)
    },
  }

  function readZone(): Zone {
    const { TZ } = surroundings.env
    const zone = TZ ? zoneOf(TZ) : UTC
    if (!zone) log.warn('TZ names no time zone: hooks run by UTC', { TZ })
    return zone ?? UTC
  }
}

function readHooks(text: string): HooksConfig {
  try {
    return parseHooks(text)
  } catch (error) {
    throw new StartError(`${LIFECYCLE_VARIABLE}: ${messageOf(error)}`, FAILED_EXIT_CODE, { cause: error })
  }
}

function failure(problem: string): StartError {
  return new StartError(`The lifecycle hook "preStart" failed: ${problem}`, FAILED_EXIT_CODE)
}
