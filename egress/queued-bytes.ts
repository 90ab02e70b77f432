// What the kernel holds of a connection until the other side has taken it, for which Node has no name.

import type { Socket } from 'node:net'
import { openCLibrary } from '../lib/koffi.ts'

const SIOCOUTQ = 0x5411

/** Zero of what is no connection any more. Throws when there is no module for this machine. */
export function openQueuedBytes(): (socket: Socket) => number {
  const ioctl = openCLibrary().func('int ioctl(int fd, unsigned long request, _Out_ int32_t *value)')
  return (socket) => {
    const fd = fdOf(socket)
    const queued = [0]
    return fd !== undefined && ioctl(fd, SIOCOUTQ, queued) === 0 ? (queued[0] ?? 0) : 0
  }
}

/** Node keeps it where its types do not tell of it; of TLS it is that of the connection below. */
function fdOf(socket: Socket): number | undefined {
  const fd = (socket as Socket & { _handle?: { fd?: unknown } | null })._handle?.fd
  return typeof fd === 'number' && fd >= 0 ? fd : undefined
}
