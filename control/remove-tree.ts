// Removing directories that sandboxes and images have filled.

import { outputOf, type RunProgram } from '../lib/run-program.ts'

const TIMEOUT_MS = 5 * 60_000

/**
 * Removes a directory and all below it; fine when there is none. By `rm`, which walks from directory to directory: Node's
 * own names each file by its whole path, and fails where a sandbox has nested directories beyond the length of a path.
 */
export async function removeTree(path: string, signal?: AbortSignal, by?: RunProgram): Promise<void> {
  await outputOf('rm', ['--recursive', '--force', '--one-file-system', '--', path], {
    timeoutMs: TIMEOUT_MS,
    ...(signal && { signal }),
    ...(by && { by }),
  })
}
