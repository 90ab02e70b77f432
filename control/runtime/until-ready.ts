// The last step of a create: execd has its boot file, and says that it listens and that the entrypoint was started, or why not.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { ReadyFile } from '../../lib/api/guest.ts'
import { RuntimeError } from './runtime.ts'
import { waitForJson } from './watch-file.ts'

/** How long a sandbox has until it is ready, beside the time of a hook before its entrypoint. */
export const READY_TIMEOUT_MS = 20_000
const LOOK_EVERY_MS = 50
const MAX_MESSAGE_LENGTH = 5000

export type Awaited = {
  exchange: string
  timeoutMs: number
  /** Whether its first process still runs. */
  isRunning(): boolean
  /** Whether the kernel has ended processes of it for memory. */
  wasOutOfMemory(): boolean | Promise<boolean>
}

/** Resolves once the sandbox is ready. Rejects with RuntimeError, or the signal's reason. */
export async function untilReady(awaited: Awaited, signal: AbortSignal): Promise<void> {
  const { exchange, timeoutMs } = awaited
  const over = new AbortController()
  const waiting = AbortSignal.any([signal, over.signal, AbortSignal.timeout(timeoutMs)])
  const ready = waitForJson<ReadyFile>(exchange, 'ready.json', waiting)
  // A first process that is gone will never say anything.
  const watching = setInterval(() => {
    if (awaited.isRunning() || existsSync(join(exchange, 'ready.json'))) return
    over.abort(new Error('The sandbox ended before it was ready'))
  }, LOOK_EVERY_MS)
  try {
    const answer = await ready
    if (answer.ok) return
    const { reason } = answer
    const failure = reason === 'entrypoint_failed' || reason === 'hook_failed' ? reason : 'start_failed'
    // A hook may have written the file itself.
    throw new RuntimeError(failure, String(answer.message).slice(0, MAX_MESSAGE_LENGTH))
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof RuntimeError) throw error
    const why = over.signal.aborted
      ? 'it ended before it was ready'
      : `it was not ready within ${timeoutMs / 1000} seconds`
    const oom = (await awaited.wasOutOfMemory()) ? ' (killed: out of memory)' : ''
    throw new RuntimeError('start_failed', `Cannot start the sandbox: ${why}${oom}`, { cause: error })
  } finally {
    clearInterval(watching)
    over.abort()
  }
}
