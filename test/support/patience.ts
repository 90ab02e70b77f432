/** What a test waits for a thing before it is given up: much more than it takes. */
export const PATIENCE_MS = 20_000

/** What a test may take, so that one that waits in vain after other waits that took long still says what for. */
export const TEST_MS = 3 * PATIENCE_MS
