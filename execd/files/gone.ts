// Work for a client that may leave before it is done.

import type { ServerResponse } from 'node:http'

/** Runs `work` with a signal that is aborted when the client leaves. That it left is no failure: there is nobody to tell. */
export async function whileWanted(
  response: ServerResponse,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const gone = new AbortController()
  const close = () => {
    if (!response.writableFinished) gone.abort()
  }
  response.once('close', close)
  try {
    if (response.destroyed) gone.abort()
    await work(gone.signal)
  } catch (error) {
    if (!gone.signal.aborted || error !== gone.signal.reason) throw error
  } finally {
    response.off('close', close)
  }
}

/** A signal for work that goes on to its end whoever leaves. */
export function neverAborted(): AbortSignal {
  return new AbortController().signal
}
