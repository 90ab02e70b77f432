// Sockets to the kernel (netlink(7)). The kernel does what it is sent while it is handed over, and may have to wait for other programs: so
// that is done on another thread. When it is done, all that the kernel has to say to it has been said.

import type { CLibrary } from '../koffi.ts'

export type NetlinkSocket = {
  /** The most that can be sent at once. */
  maxBytes: number
  /** Resolves with all that the kernel has said to it; with undefined when it has not taken it, and so done nothing. */
  send(messages: Buffer): Promise<Buffer | undefined>
  close(): void
}

/** Of the kernel's parts: interfaces and routes, and the rules for packets. */
export const PROTOCOLS = { route: 0, netfilter: 12 } as const

const AF_NETLINK = 16
const SOCK_RAW_CLOEXEC = 3 | 0o2000000
const SOL_SOCKET = 1
const SO_SNDBUF = 7
const SO_SNDBUFFORCE = 32
const SOL_NETLINK = 270
/** Errors come without what they are about, and with what is wrong with it. */
const ANSWER_OPTIONS = { shortened: 10, detailed: 11 } as const
const MSG_DONTWAIT = 0x40
/** The kernel takes a little less than its buffer has. */
const OVERHEAD_BYTES = 32
const RECEIVE_BYTES = 64 << 10
/**
 * Of what the kernel says at once: it says of every message what it does not like of it, until its buffer is full, which is after a few
 * hundred of them. What is not taken now would stand before what it says next.
 */
const MAX_ANSWERS = 4096

export class NetlinkSockets {
  readonly #library: CLibrary
  readonly #calls

  constructor(library: CLibrary) {
    this.#library = library
    this.#calls = {
      socket: library.func('int socket(int domain, int type, int protocol)'),
      setsockopt: library.func(
        'int setsockopt(int fd, int level, int name, const int *value, uint32_t length)',
      ),
      getsockopt: library.func('int getsockopt(int fd, int level, int name, void *value, void *length)'),
      send: library.func('int64_t send(int fd, const void *data, size_t size, int flags)'),
      receive: library.func('int64_t recv(int fd, void *data, size_t size, int flags)'),
      // Deno closes by number only what it has opened itself.
      close: library.func('int close(int fd)'),
    }
  }

  /**
   * In the network that this thread is in. More than the system allows to others can be sent at once by who has the right to it; otherwise
   * it is less. Throws when the system does not allow it.
   */
  open(protocol: number, { wantedBytes }: { wantedBytes?: number } = {}): NetlinkSocket {
    const { socket, setsockopt, close } = this.#calls
    const fd = this.#library.check('socket', socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol))
    try {
      if (wantedBytes !== undefined) setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, [wantedBytes], 4)
      for (const option of Object.values(ANSWER_OPTIONS))
        this.#library.check('setsockopt', setsockopt(fd, SOL_NETLINK, option, [1], 4))
      const received = Buffer.alloc(RECEIVE_BYTES)
      return {
        maxBytes: this.#sendBuffer(fd) - OVERHEAD_BYTES,
        send: async (messages) =>
          (await this.#send(fd, messages)) === messages.length ? this.#receive(fd, received) : undefined,
        close: () => void close(fd),
      }
    } catch (error) {
      close(fd)
      throw error
    }
  }

  #sendBuffer(fd: number): number {
    const value = Buffer.alloc(4)
    const length = Buffer.from([4, 0, 0, 0])
    this.#library.check('getsockopt', this.#calls.getsockopt(fd, SOL_SOCKET, SO_SNDBUF, value, length))
    return value.readUInt32LE()
  }

  #send(fd: number, messages: Buffer): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#calls.send.async(fd, messages, messages.length, 0, (error, sent) =>
        error ? reject(error) : resolve(Number(sent)),
      )
    })
  }

  #receive(fd: number, memory: Buffer): Buffer {
    const parts: Buffer[] = []
    for (let answers = 0; answers < MAX_ANSWERS; answers++) {
      const size = Number(this.#calls.receive(fd, memory, memory.length, MSG_DONTWAIT))
      if (size >= 0) {
        parts.push(Buffer.from(memory.subarray(0, size)))
        continue
      }
      const reason = this.#library.code()
      if (reason === 'EAGAIN') break
      // There was more than fits; the first of it is there.
      if (reason !== 'ENOBUFS' && reason !== 'EINTR') throw new Error(`recv failed: ${reason}`)
    }
    return Buffer.concat(parts)
  }
}
