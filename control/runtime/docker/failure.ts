// What a failure of the daemon is to who asked for a sandbox.

import { messageOf } from '../../../lib/errors.ts'
import { isNoSpace } from '../../image/failure.ts'
import { RuntimeError } from '../runtime.ts'

/**
 * A RuntimeError that says why, in the daemon's words but without ids of containers, which say nothing to the caller, and without places
 * below the data directory, which are nobody's business.
 */
export function startFailure(error: unknown, dataDir: string): RuntimeError {
  if (isNoSpace(error))
    return new RuntimeError('no_space', 'Cannot start the sandbox: no space left on the disk', {
      cause: error,
    })
  if (error instanceof RuntimeError) return error
  const why = messageOf(error)
    .replaceAll(dataDir, '…')
    .replace(/\b[0-9a-f]{64}\b/g, '…')
  return new RuntimeError('start_failed', `Cannot start the sandbox: ${why}`, { cause: error })
}
