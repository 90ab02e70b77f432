// What the kernel of this machine can do that not every kernel can.

import { release } from 'node:os'

/** Whether it keeps how a process has ended for others than the parent: Linux 6.15 (PIDFD_INFO_EXIT). */
export function keepsEnds(version = release()): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 6 || (major === 6 && minor >= 15)
}
