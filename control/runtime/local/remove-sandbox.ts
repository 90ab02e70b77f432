// Ends a sandbox and removes whatever there is of it. That looks at what is there and not at what should be.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { systemCodeOf } from '../../../lib/errors.ts'
import { removeTree } from '../../remove-tree.ts'
import { disconnectSandbox } from '../network.ts'
import { interfaceOf, isRunning, type SandboxRecord } from '../sandbox-record.ts'
import { unmountAll, unstageMounts } from '../staged-mounts.ts'
import { untilEnded } from '../until-ended.ts'
import { isFrozen, removeCgroup } from './cgroup.ts'
import { diskPathsOf, removeDisk } from './disk.ts'
import { type Parts, sandboxCgroup, sandboxPaths } from './parts.ts'
import { unmountRoot } from './root.ts'

export async function endGently(
  parts: Parts,
  { record, graceMs }: { record: SandboxRecord; graceMs: number },
  signal: AbortSignal,
): Promise<void> {
  if (!record.init || !isRunning(record)) return
  // A frozen process takes no signal.
  if (isFrozen(sandboxCgroup(parts, record.id), parts.cgroups)) await parts.oci.resume(record.id, signal)
  try {
    process.kill(record.init.pid, 'SIGTERM')
  } catch (error) {
    if (systemCodeOf(error) !== 'ESRCH') throw error // it has ended by itself meanwhile
  }
  await untilEnded(record, graceMs, signal)
}

/** Removes a sandbox in the reverse order of its making; fine when there is nothing. */
export async function clearSandbox(
  parts: Parts,
  { id, record }: { id: string; record: SandboxRecord | undefined },
  signal: AbortSignal,
): Promise<void> {
  const { oci, egress, addresses, cgroups, instance, programs } = parts
  const { run } = programs
  const paths = sandboxPaths(parts, id)
  const cgroup = sandboxCgroup(parts, id)
  if (existsSync(join(instance.runDir, 'runc', id)) || record?.init) {
    if (record?.init && isRunning(record) && isFrozen(cgroup, cgroups)) await oci.resume(id, signal)
    await oci.delete(id, signal)
  }
  await disconnectSandbox(record?.interface ?? interfaceOf(id, instance.interfacePrefix), run, signal)
  // Only once nothing of it can send any more.
  await egress.unregister(id, signal)
  await unmountRoot(paths.root, run, signal)
  await unstageMounts(paths.mounts, run, signal)
  await removeCgroup(cgroup, cgroups)
  await unmountAll(paths.exchange, run, signal)
  await removeDisk(diskPathsOf(paths), run, signal)
  await removeTree(paths.folder, signal, run)
  if (record) addresses.release(record.address)
}
