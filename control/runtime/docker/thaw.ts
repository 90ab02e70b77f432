// Lets the processes of a container go on by the kernel's freezer. A daemon that was killed while it had a container stand still may take
// it for a running one afterwards, and then refuses to let it go on.

import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { systemCodeOf } from '../../../lib/errors.ts'
import { isRunning, type SandboxRecord } from '../sandbox-record.ts'

/** Fine when it goes on already, or has ended. */
export async function thaw(record: SandboxRecord): Promise<void> {
  const { init } = record
  if (!init || !isRunning(record)) return
  try {
    const freezer = freezerIn(readFileSync(`/proc/${init.pid}/cgroup`, 'utf8'))
    if (freezer) await writeFile(freezer.path, freezer.thaw, { flag: 'r+' })
  } catch (error) {
    const code = systemCodeOf(error)
    if (code !== 'ENOENT' && code !== 'ESRCH' && code !== 'ENODEV') throw error
  }
}

/** The file by which a process is frozen, by what the kernel says of its cgroups (cgroups(7), /proc/pid/cgroup). */
export function freezerIn(membership: string): { path: string; thaw: string } | undefined {
  const own = /^\d+:(?:[^:]*,)?freezer(?:,[^:]*)?:(\/.*)$/m.exec(membership)?.[1]
  if (own !== undefined) return { path: `/sys/fs/cgroup/freezer${own}/freezer.state`, thaw: 'THAWED' }
  const unified = /^0::(\/.+)$/m.exec(membership)?.[1]
  return unified === undefined ? undefined : { path: `/sys/fs/cgroup${unified}/cgroup.freeze`, thaw: '0' }
}
