// How a process has ended that is not our child. The kernel gives the status to the parent alone, and, from Linux 6.15 on, to whoever
// had the process open when it went (pidfd_open(2), PIDFD_GET_INFO). Such a descriptor can be held for us by another process.

import { closeSync, constants, openSync } from 'node:fs'
import type { Libc } from '../libc.ts'
import type { ProcessEnd } from './process.ts'
import { isRunning } from './process-table.ts'
import { readStatus } from './spawner.ts'

// From <sys/syscall.h> and <linux/pidfd.h>, the same on every architecture that Node runs on.
const SYS_PIDFD_OPEN = 434
const SYS_PIDFD_GETFD = 438
const PIDFD_GET_INFO = 0xc040_ff0b
const PIDFD_INFO_EXIT = 1n << 3n
/** The first version of `struct pidfd_info`: what is asked for and was given, 12 numbers of the process, the status. */
const INFO_BYTES = 64
const STATUS_AT = 60

export type ProcessStatus = {
  /** A descriptor of this very process; undefined when it does not run any more, or when the kernel knows no such thing. */
  open(process: { pid: number; startTime: number }): number | undefined
  /** A descriptor that another process has, for us as well; undefined when it has none of that number, or we may not look into it. */
  share(holder: { pid: number; startTime: number }, fd: number): number | undefined
  /** How the process of a descriptor has ended; undefined until it was reaped, and where the kernel does not keep it. */
  read(fd: number): ProcessEnd | undefined
}

export function createProcessStatus(libc: Libc): ProcessStatus {
  const syscall = libc.func('long syscall(long number, long first, long second, long third)')
  const ioctl = libc.func('int ioctl(int fd, unsigned long request, void *info)')
  const open: ProcessStatus['open'] = (process) => {
    const fd = syscall(SYS_PIDFD_OPEN, process.pid, 0, 0)
    if (fd < 0) return undefined
    // Looked at afterwards: the number may have become another one's before.
    if (isRunning(process)) return fd
    closeSync(fd)
    return undefined
  }
  return {
    open,
    share: (holder, fd) => {
      const from = open(holder)
      if (from === undefined) return undefined
      // Docker's filter of system calls knows the second only for who may trace; what belongs to root of the machine, as these do, cannot
      // be opened where the sandbox's root is somebody else.
      const shared = openAgain(holder.pid, fd) ?? syscall(SYS_PIDFD_GETFD, from, fd, 0)
      closeSync(from)
      return shared < 0 ? undefined : shared
    },
    read: (fd) => {
      const info = Buffer.alloc(INFO_BYTES)
      info.writeBigUInt64LE(PIDFD_INFO_EXIT, 0)
      const isGiven =
        ioctl(fd, PIDFD_GET_INFO, info) === 0 && (info.readBigUInt64LE(0) & PIDFD_INFO_EXIT) !== 0n
      return isGiven ? readStatus(info.readInt32LE(STATUS_AT)) : undefined
    },
  }
}

function openAgain(pid: number, fd: number): number | undefined {
  try {
    // Without waiting for anyone, should it be something else than it was.
    return openSync(`/proc/${pid}/fd/${fd}`, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch {
    // It has nothing there, or that is not ours to open.
    return undefined
  }
}
