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
  return controller.signal
}

/**
 * A child of the launcher says `ready` over its IPC channel and stops when that channel closes, so that no program
 * outlives a launcher that was killed. Does nothing when the program was started by hand.
 */
export function reportReady(message: Record<string, unknown> = {}): void {
  if (!process.send) return
  process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'))
  process.send({ type: 'ready', ...message })
}
