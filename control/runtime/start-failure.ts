// What is told of a create that failed to who asked for it.

import { isAbsolute } from 'node:path'
import { messageOf } from '../../lib/errors.ts'
import type { Instance } from '../../lib/instance.ts'
import { isNoSpace } from '../image/failure.ts'
import { RuntimeError, type RuntimeFailure } from './runtime.ts'

type Places = {
  dataDir: string
  instance: Pick<Instance, 'runDir'>
  config: { runtime: { images: Readonly<Record<string, string>> } }
}

/** What tells of archives, and of programs that unpack images, names where these lie. What a sandbox says of itself is its own. */
const NAMES_PLACES: readonly RuntimeFailure[] = ['image_not_found', 'image_pull_failed']

/**
 * A RuntimeError that says why, in the words of what failed but without ids of containers, which say nothing to the caller, and without
 * places of this machine, which are nobody's business.
 */
export function startFailure(error: unknown, places: Places): RuntimeError {
  if (isNoSpace(error))
    return new RuntimeError('no_space', 'Cannot start the sandbox: no space left on the disk', {
      cause: error,
    })
  if (error instanceof RuntimeError) {
    const told = NAMES_PLACES.includes(error.failure) ? withoutPlaces(error.message, places) : error.message
    return told === error.message ? error : new RuntimeError(error.failure, told, { cause: error })
  }
  const why = withoutPlaces(messageOf(error), places).replace(/\b[0-9a-f]{64}\b/g, '…')
  return new RuntimeError('start_failed', `Cannot start the sandbox: ${why}`, { cause: error })
}

function withoutPlaces(message: string, { dataDir, instance, config }: Places): string {
  const archives = Object.values(config.runtime.images).filter((target) => isAbsolute(target))
  return [...archives, dataDir, instance.runDir].reduce((text, place) => text.replaceAll(place, '…'), message)
}
