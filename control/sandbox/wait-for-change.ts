import type { Store, StoreEvent } from '../store/sqlite.ts'

export type Waiting = { happened: Promise<boolean>; cancel: () => void }

export type WaitOptions = {
  signal: AbortSignal
  /** How long to wait; until `signal` aborts when absent. */
  ms?: number
  /** Which changes count; all of them when absent. */
  concerns?: (event: StoreEvent) => boolean
}

/**
 * Whether some sandbox changes before the time is over or `signal` aborts. Watching begins at once, so that a look at the rows
 * after the call misses nothing.
 */
export function waitForChange(
  store: Pick<Store, 'watch'>,
  { signal, ms, concerns = () => true }: WaitOptions,
): Waiting {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const finish = (changed: boolean) => {
    clearTimeout(timer)
    stopWatching()
    signal.removeEventListener('abort', giveUp)
    resolve(changed)
  }
  const giveUp = () => finish(false)
  const timer = ms === undefined ? undefined : setTimeout(giveUp, ms)
  const stopWatching = store.watch((event) => {
    if (concerns(event)) finish(true)
  })
  signal.addEventListener('abort', giveUp)
  if (signal.aborted) giveUp()
  return { happened: promise, cancel: giveUp }
}
