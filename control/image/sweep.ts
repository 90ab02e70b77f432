// What an unpacked root must not have: device nodes, which are the runtime's to give, and files of an owner outside of the mapped range,
// which unpacking leaves on directories that no layer names.

import { ID_MAP } from './image.ts'
import { toolOutput } from './tool.ts'

/** Removes the nodes, and gives what has a foreign owner to the sandbox's root. */
export async function sweepRoot(
  rootfs: string,
  options: { signal: AbortSignal; timeoutMs: number },
): Promise<void> {
  const first = ID_MAP.hostId
  const last = first + ID_MAP.size - 1
  const outside = (id: string) => [id, `-${first}`, '-o', id, `+${last}`]
  await toolOutput(
    'find',
    [
      rootfs,
      '-xdev',
      ...['(', '(', '-type', 'b', '-o', '-type', 'c', ')', '-delete', ')'],
      '-o',
      ...['(', '(', ...outside('-uid'), '-o', ...outside('-gid'), ')'],
      ...['-exec', 'chown', '--no-dereference', `${first}:${first}`, '{}', '+', ')'],
    ],
    options,
  )
}
