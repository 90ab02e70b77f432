// A program stops from one signal: SIGINT or SIGTERM abort it, and the end of the launcher does too. SIGHUP means that a
// terminal was closed, which ends what runs on it; where there is none it means that the configuration is to be read again.

import type { Logger } from './log.ts'

/** One press of Ctrl-C comes several times: from the terminal, from npm, and from whoever passes it on. */
const SAME_PRESS_MS = 1000

export type HangUp = {
  /** Whether a terminal is where this process reads or writes. */
  hasTerminal: boolean
  reload: () => void
}

const NOTHING_TO_RELOAD: HangUp = { hasTerminal: true, reload: () => {} }

/** What SIGHUP means to a program: a child of the launcher leaves terminals to the launcher. */
export function decideHangUp({
  isChild,
  hasTerminal,
}: {
  isChild: boolean
  hasTerminal: boolean
}): 'reload' | 'stop' {
  return isChild || !hasTerminal ? 'reload' : 'stop'
}

/** A signal that aborts when this process is told to stop; being told again a second later ends it at once with 130. */
export function stopSignal(log: Logger, { hasTerminal, reload }: HangUp = NOTHING_TO_RELOAD): AbortSignal {
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
  // Whoever read our output may leave before us, such as a terminal that is closed: what is written then is lost, and must not
  // end this process before it has stopped in order.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  process.on('SIGTERM', stop)
  // A terminal tells the whole process group. The launcher's children leave it to the launcher, which stops them in order.
  const isChild = process.send !== undefined
  process.on('SIGINT', (name) => {
    if (!isChild) stop(name)
  })
  process.on('SIGHUP', (name) => {
    if (decideHangUp({ isChild, hasTerminal }) === 'stop') stop(name)
    else if (!controller.signal.aborted) reload()
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
