// The directory by which a sandbox and this machine tell each other things. It is the sandbox's to write to, so where its disk is limited
// it lies beside that in memory: a sandbox whose disk is full can still end as it should, and fills the machine's by no other way.

import { chmod, lchown, mkdir } from 'node:fs/promises'
import { outputOf, type RunProgram } from '../../lib/run-program.ts'
import type { Owner } from './held-path.ts'

const TIMEOUT_MS = 20_000
const MOST_BYTES = 32 << 20
const MOST_FILES = 4096

/** Makes it, for the sandbox's root alone. What is mounted there when its disk is limited, `unmountAll` takes away. */
export async function makeExchange(
  path: string,
  { owner, isLimited, run }: { owner: Owner; isLimited: boolean; run: RunProgram },
  signal: AbortSignal,
): Promise<void> {
  await mkdir(path, { mode: 0o700 })
  if (!isLimited) {
    await chmod(path, 0o700)
    await lchown(path, owner.uid, owner.gid)
    return
  }
  const memory = `size=${MOST_BYTES},nr_inodes=${MOST_FILES},mode=0700,uid=${owner.uid},gid=${owner.gid}`
  await outputOf('mount', ['-t', 'tmpfs', '-o', `${memory},nosuid,nodev,noexec`, 'exchange', path], {
    signal,
    timeoutMs: TIMEOUT_MS,
    by: run,
  })
}
