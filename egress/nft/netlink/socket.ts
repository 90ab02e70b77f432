// A socket to the kernel's nf_tables. The kernel works on a batch while it is handed over, and may have to wait for other programs that
// change rules: so that is done on another thread. When it is done, all that the kernel has to say to it has been said.

import { type CLibrary, openCLibrary } from '../../../lib/koffi.ts'

export type NetlinkSocket = {
  /** The largest batch that can be sent. */
  maxBytes: number
  /** Resolves with all that the kernel has said to it; with undefined when it has not taken it, and so done nothing. */
  send(batch: Buffer): Promise<Buffer | undefined>
  close(): void
}

const AF_NETLINK = 16
const SOCK_RAW_CLOEXEC = 3 | 0o2000000
const NETLINK_NETFILTER = 12
const SOL_SOCKET = 1
const SO_SNDBUF = 7
const SO_SNDBUFFORCE = 32
const SOL_NETLINK = 270
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
const MSG_DONTWAIT = 0x40
/** A batch of some hundreds of policies. */
const WANTED_SEND_BYTES = 8 << 20
/** The kernel takes a little less than its buffer has. */
const OVERHEAD_BYTES = 32
const RECEIVE_BYTES = 64 << 10
/**
 * Of what the kernel says to one batch: it says of every message what it does not like of it, until its buffer is full, which is after a
 * few hundred of them. What is not taken now would stand before what it says to the next.
 */
const MAX_ANSWERS = 4096

/** Throws when the system does not allow it, or when this machine has no module for it. */
export function openNetlinkSocket(libc: CLibrary = openCLibrary()): NetlinkSocket {
  const socket = libc.func('int socket(int domain, int type, int protocol)')
  const setsockopt = libc.func(
    'int setsockopt(int fd, int level, int name, const int *value, uint32_t length)',
  )
  const getsockopt = libc.func('int getsockopt(int fd, int level, int name, void *value, void *length)')
  const send = libc.func('int64_t send(int fd, const void *data, size_t size, int flags)')
  const recv = libc.func('int64_t recv(int fd, void *data, size_t size, int flags)')
  const closeFd = libc.func('int close(int fd)')
  const received = Buffer.alloc(RECEIVE_BYTES)

  const fd = libc.check('socket', socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_NETFILTER))
  try {
    // What may be more than the system allows to others only needs the right to it; without it, batches are smaller.
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, [WANTED_SEND_BYTES], 4)
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK])
      libc.check('setsockopt', setsockopt(fd, SOL_NETLINK, option, [1], 4))
    return { maxBytes: sendBuffer() - OVERHEAD_BYTES, send: sendBatch, close: () => void closeFd(fd) }
  } catch (error) {
    closeFd(fd)
    throw error
  }

  function sendBuffer(): number {
    const value = Buffer.alloc(4)
    const length = Buffer.from([4, 0, 0, 0])
    libc.check('getsockopt', getsockopt(fd, SOL_SOCKET, SO_SNDBUF, value, length))
    return value.readUInt32LE()
  }

  async function sendBatch(batch: Buffer): Promise<Buffer | undefined> {
    const sent = await new Promise<number>((resolve, reject) => {
      send.async(fd, batch, batch.length, 0, (error, result) =>
        error ? reject(error) : resolve(Number(result)),
      )
    })
    return sent === batch.length ? receive() : undefined
  }

  function receive(): Buffer {
    const parts: Buffer[] = []
    for (let answers = 0; answers < MAX_ANSWERS; answers++) {
      const size = Number(recv(fd, received, RECEIVE_BYTES, MSG_DONTWAIT))
      if (size >= 0) {
        parts.push(Buffer.from(received.subarray(0, size)))
        continue
      }
      const reason = libc.code()
      if (reason === 'EAGAIN') break
      // There was more than fits; the first of it is there.
      if (reason !== 'ENOBUFS' && reason !== 'EINTR') throw new Error(`recv failed: ${reason}`)
    }
    return Buffer.concat(parts)
  }
}
