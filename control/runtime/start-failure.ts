// What is told of a create that failed to who asked for it.

import { messageOf } from '../../lib/errors.ts'
import type { Instance } from '../../lib/instance.ts'
import { isNoSpace } from '../image/failure.ts'
import { RuntimeError } from './runtime.ts'

/**
 * A RuntimeError that says why, in the words of what failed but without ids of containers, which say nothing to the caller, and without
 * places of this machine, which are nobody's business.
 */
export function startFailure(
  error: unknown,
  { dataDir, instance }: { dataDir: string; instance: Pick<Instance, 'runDir'> },
): RuntimeError {
  if (isNoSpace(error))
    return new RuntimeError('no_space', 'Cannot start the sandbox: no space left on the disk', {
      cause: error,
    })
  if (error instanceof RuntimeError) return error
  const why = messageOf(error)
    .replaceAll(dataDir, '…')
    .replaceAll(instance.runDir, '…')
    .replace(/\b[0-9a-f]{64}\b/g, '…')
  return new RuntimeError('start_failed', `Cannot start the sandbox: ${why}`, { cause: error })
}
