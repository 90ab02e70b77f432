/** What a test waits for a thing before it is given up: much more than it takes, and less than the test itself may take. */
export const PATIENCE_MS = 20_000
