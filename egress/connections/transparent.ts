// A TCP server that takes connections meant for other addresses, when the kernel's rules lead them to it (tproxy). Node has no name for
// the socket option that allows it, so the socket is made by the C library and handed to Node.

import type { Server } from 'node:net'
import { openCLibrary } from '../../lib/koffi.ts'

const AF_INET = 2
const AF_INET6 = 10
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SOL_IP = 0
const IP_TRANSPARENT = 19
const SOL_IPV6 = 41
const IPV6_V6ONLY = 26
const IPV6_TRANSPARENT = 75
const BACKLOG = 1024

/** Listens on a free port of the loopback address, of IPv4 or of IPv6. Rejects when the system or this machine's processor does not allow it. */
export async function listenTransparently(server: Server, family: 4 | 6 = 4): Promise<number> {
  const library = openCLibrary()
  const call = library.check
  const socket = library.func('int socket(int domain, int type, int protocol)')
  const setsockopt = library.func(
    'int setsockopt(int fd, int level, int name, const int *value, uint32_t length)',
  )
  const bind = library.func('int bind(int fd, const void *address, uint32_t length)')
  const close = library.func('int close(int fd)')
  const fd = call('socket', socket(family === 4 ? AF_INET : AF_INET6, SOCK_STREAM_CLOEXEC, 0))
  try {
    call('setsockopt(SO_REUSEADDR)', setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, [1], 4))
    if (family === 4) call('setsockopt(IP_TRANSPARENT)', setsockopt(fd, SOL_IP, IP_TRANSPARENT, [1], 4))
    else {
      call('setsockopt(IPV6_V6ONLY)', setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, [1], 4))
      call('setsockopt(IPV6_TRANSPARENT)', setsockopt(fd, SOL_IPV6, IPV6_TRANSPARENT, [1], 4))
    }
    const address = family === 4 ? loopbackAddress() : loopbackAddress6()
    call('bind', bind(fd, address, address.length))
  } catch (error) {
    close(fd)
    throw error
  }
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ fd, backlog: BACKLOG }, () => {
      server.off('error', reject)
      resolve()
    })
  })
  const address = server.address()
  if (typeof address !== 'object' || !address) throw new Error('The transparent server has no port')
  return address.port
}

/** A sockaddr_in of 127.0.0.1 with no port chosen. */
function loopbackAddress(): Buffer {
  const address = Buffer.alloc(16)
  // The family is in the machine's own order, which is little-endian on all that Node runs on with us.
  address.writeUInt16LE(AF_INET, 0)
  address.set([127, 0, 0, 1], 4)
  return address
}

/** A sockaddr_in6 of ::1 with no port chosen. */
function loopbackAddress6(): Buffer {
  const address = Buffer.alloc(28)
  address.writeUInt16LE(AF_INET6, 0)
  address[23] = 1
  return address
}
