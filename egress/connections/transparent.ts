// A TCP server that takes connections meant for other addresses, when the kernel's rules lead them to it (tproxy). Node has no name for
// the socket option that allows it, so the socket is made by the C library and handed to Node.

import { createRequire } from 'node:module'
import type { Server } from 'node:net'
import { getSystemErrorName } from 'node:util'

const AF_INET = 2
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SOL_IP = 0
const IP_TRANSPARENT = 19
const BACKLOG = 1024

type Koffi = {
  /** Null: what is loaded already. */
  load(library: null): { func(prototype: string): (...args: unknown[]) => number }
  errno(): number
}

/** Listens on a free port of the loopback address. Rejects when the system or this machine's processor does not allow it. */
export async function listenTransparently(server: Server): Promise<number> {
  const koffi = loadKoffi()
  const library = koffi.load(null)
  const call = (name: string, result: number) => {
    if (result < 0) throw new Error(`${name} failed: ${getSystemErrorName(-koffi.errno())}`)
    return result
  }
  const socket = library.func('int socket(int domain, int type, int protocol)')
  const setsockopt = library.func(
    'int setsockopt(int fd, int level, int name, const int *value, uint32_t length)',
  )
  const bind = library.func('int bind(int fd, const void *address, uint32_t length)')
  const close = library.func('int close(int fd)')
  const fd = call('socket', socket(AF_INET, SOCK_STREAM_CLOEXEC, 0))
  try {
    call('setsockopt(SO_REUSEADDR)', setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, [1], 4))
    call('setsockopt(IP_TRANSPARENT)', setsockopt(fd, SOL_IP, IP_TRANSPARENT, [1], 4))
    call('bind', bind(fd, loopbackAddress(), 16))
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

function loadKoffi(): Koffi {
  const name = `@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`
  try {
    return createRequire(import.meta.url)(name) as Koffi
  } catch (error) {
    throw new Error(`the module "${name}" cannot be loaded: run npm install`, { cause: error })
  }
}
