/** Longer waits overflow a timer, which then ends at once. Nobody waits for them. */
export const MAX_TIMER_MS = 2 ** 31 - 1
