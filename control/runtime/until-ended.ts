import { setTimeout as delay } from 'node:timers/promises'
import { isRunning, type SandboxRecord } from './sandbox-record.ts'

/** What execd needs beyond the grace of the entrypoint to end by itself. */
const EXTRA_GRACE_MS = 1500
const LOOK_EVERY_MS = 10

/** Waits for the end of a sandbox that was asked to end, and has `graceMs` for it. */
export async function untilEnded(record: SandboxRecord, graceMs: number, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + graceMs + EXTRA_GRACE_MS
  while (isRunning(record) && performance.now() < deadline) await delay(LOOK_EVERY_MS, undefined, { signal })
}
