// A program stops from one signal: SIGINT, SIGTERM or SIGHUP abort it, and the end of the launcher does too.

import type { Logger } from './log.ts'

/** One press of Ctrl-C comes several times: from the terminal, from npm, and from whoever passes it on. */
const SAME_PRESS_MS = 1000

/** A signal that aborts when this process is told to stop; being told again a second later ends it at once with 130. */
export function stopSignal(log: Logger): AbortSignal {
  const controller = new AbortController()
  let stoppedAt = 0
  const stop = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) {
      if (performance.now() - stoppedAt > SAME_PRESS_MS) process.exit(130)
      return
    }
    stoppedAt = performance.now()
    log.info('stopping', { signal: name })
    controller.abort(new Error(`Stopped by ${name}`))
  }
  process.on('SIGTERM', stop)
  // A terminal tells the whole process group. The launcher's children leave it to the launcher, which stops them in order.
  const isChild = process.send !== undefined
  for (const name of ['SIGINT', 'SIGHUP'] as const)
    process.on(name, () => {
      if (!isChild) stop(name)
    })
  // A child of the launcher stops when its channel closes, so that no program outlives a launcher that was killed.
  process.on('disconnect', () => {
    if (!controller.signal.aborted) stop('SIGTERM')
  })
  return controller.signal
}

/** Resolves once the signal is aborted. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

/** Tells the launcher over its IPC channel that this program is ready. Does nothing when it was started by hand. */
export function reportReady(message: Record<string, unknown> = {}): void {
  process.send?.({ type: 'ready', ...message })
}
