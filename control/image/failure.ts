// What is told of a failure while an image is made.

import { ProgramError } from '../../lib/run-program.ts'
import { RuntimeError, type RuntimeFailure } from '../runtime/runtime.ts'

/** A full disk is told as such, whatever hit it; anything else as `failure`. */
export function imageFailure(error: unknown, failure: RuntimeFailure, what: string): unknown {
  if (error instanceof RuntimeError) return error
  if (isNoSpace(error))
    return new RuntimeError('no_space', `${what}: no space left on the disk`, { cause: error })
  if (!(error instanceof ProgramError)) return error
  // What skopeo says in front of whatever went wrong.
  const why = error.message.replace(/Error parsing image name "[^"]*": /, '')
  return new RuntimeError(failure, `${what}: ${why}`, { cause: error })
}

/** Whether an error, or the program that made it, says that the disk is full. */
export function isNoSpace(error: unknown): boolean {
  return (
    error instanceof Error &&
    (('code' in error && error.code === 'ENOSPC') ||
      /no space left on device/i.test(error instanceof ProgramError ? error.stderr : error.message))
  )
}
