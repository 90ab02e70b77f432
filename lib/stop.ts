// A program stops from one signal: SIGINT or SIGTERM abort it, and the end of the launcher does too.

import type { Logger } from './log.ts'

/** A signal that aborts at the first SIGINT or SIGTERM; a second one ends the process at once with 130. */
export function stopSignal(log: Logger): AbortSignal {
  const controller = new AbortController()
  const stop = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(130)
    log.info('stopping', { signal: name })
    controller.abort(new Error(`Stopped by ${name}`))
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  // A child of the launcher stops when its channel closes, so that no program outlives a launcher that was killed.
  process.on('disconnect', () => {
    if (!controller.signal.aborted) stop('SIGTERM')
  })
  return controller.signal
}

/** Tells the launcher over its IPC channel that this program is ready. Does nothing when it was started by hand. */
export function reportReady(message: Record<string, unknown> = {}): void {
  process.send?.({ type: 'ready', ...message })
}
