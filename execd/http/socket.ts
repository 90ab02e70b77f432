// The socket that execd listens on. Node looks whether a host is an address of IPv6 by a regular expression that takes V8 4 ms to
// compile, of the 50 that execd takes to start; a socket that is given to it has no host.

import { closeSync } from 'node:fs'
import { type Libc, systemError } from '../libc.ts'

export type SocketAddress = {
  host: string
  port: number
  /** Whether another socket of the same user may have the port as well, if it asks for that too. */
  isShared: boolean
}

/** Opens a socket that has its address and does not listen yet; undefined for what is no address of IPv4. Throws errors as Node's are. */
export type OpenSocket = (address: SocketAddress) => number | undefined

const AF_INET = 2
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_REUSEPORT = 15

export function createSocketOpener(libc: Libc): OpenSocket {
  const socket = libc.func('int socket(int domain, int type, int protocol)')
  const setOption = libc.func(
    'int setsockopt(int fd, int level, int name, const void *value, unsigned int length)',
  )
  const bind = libc.func('int bind(int fd, const void *address, unsigned int length)')
  return ({ host, port, isShared }) => {
    const address = formatAddress(host, port)
    if (!address) return undefined
    const fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)
    if (fd < 0) throw systemError('socket', libc.errno())
    try {
      const on = Buffer.from(new Int32Array([1]).buffer)
      for (const name of isShared ? [SO_REUSEADDR, SO_REUSEPORT] : [SO_REUSEADDR])
        if (setOption(fd, SOL_SOCKET, name, on, on.length) !== 0)
          throw systemError('setsockopt', libc.errno())
      if (bind(fd, address, address.length) !== 0) throw systemError('bind', libc.errno())
      return fd
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }
}

/** A `struct sockaddr_in`: the family as the machine has its numbers, the port and the address as the network has them. */
export function formatAddress(host: string, port: number): Buffer | undefined {
  const parts = host.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255))
    return undefined
  const address = Buffer.alloc(16)
  new Uint16Array(address.buffer, address.byteOffset, 1)[0] = AF_INET
  address.writeUInt16BE(port, 2)
  address.set(parts.map(Number), 4)
  return address
}
