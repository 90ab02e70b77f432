import type { Store, StoreEvent } from '../store/sqlite.ts'

export type Waiting = { happened: Promise<boolean>; cancel: () => void }

/**
 * Whether some sandbox that `concerns` accepts changes before `signal` aborts. Watching begins at once, so that a look at the
 * rows after the call misses nothing.
 */
export function waitForChange(
  store: Pick<Store, 'watch'>,
  signal: AbortSignal,
  concerns: (event: StoreEvent) => boolean,
): Waiting {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const finish = (changed: boolean) => {
    stopWatching()
    signal.removeEventListener('abort', onAbort)
    resolve(changed)
  }
  const onAbort = () => finish(false)
  const stopWatching = store.watch((event) => {
    if (concerns(event)) finish(true)
  })
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  return { happened: promise, cancel: () => finish(false) }
}
