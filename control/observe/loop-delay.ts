// How late the event loop is: a timer that says by how much it came after its time. As samples of a histogram, so that two
// who read do not take each other's numbers away, as they would with Node's own monitor, which has to be reset.

const EVERY_MS = 50

/** Calls `sample` with the delay in milliseconds, some twenty times a second, until the signal aborts. */
export function watchLoopDelay(sample: (ms: number) => void, signal: AbortSignal): void {
  if (signal.aborted) return
  let due = performance.now() + EVERY_MS
  const timer = setInterval(() => {
    const now = performance.now()
    sample(Math.max(0, now - due))
    due = now + EVERY_MS
  }, EVERY_MS)
  timer.unref()
  signal.addEventListener('abort', () => clearInterval(timer), { once: true })
}
