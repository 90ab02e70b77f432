/** Longer waits overflow a timer, which then ends at once. Nobody waits for them. */
export const MAX_TIMER_MS = 2 ** 31 - 1

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}

/** Lets what has come in meanwhile be dealt with first. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Resolves with `what`, or after so long without it. */
export async function within(what: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([what, late])
  clearTimeout(timer)
}
