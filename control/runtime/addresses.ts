// IPv4 addresses for sandboxes out of egress's subnet, one after the other, so that an address rests as long as possible
// before the next sandbox gets it.

import { isIPv4 } from 'node:net'

export type AddressPool = {
  /** Takes a free address. Throws when there is none. */
  take(): string
  /** Marks an address as taken that a sandbox already has. */
  reserve(address: string): void
  release(address: string): void
}

/** The addresses of `subnet` (`a.b.c.d/n`) without its network, gateway and broadcast addresses. */
export function createAddressPool(subnet: string, gateway: string): AddressPool {
  const [base = '', bits = ''] = subnet.split('/')
  const prefix = Number(bits)
  if (!isIPv4(base) || !(prefix >= 8 && prefix <= 30))
    throw new Error(`"${subnet}" is no subnet for sandboxes`)
  const first = toNumber(base)
  const size = 2 ** (32 - prefix)
  const taken = new Set<number>([0, size - 1, toNumber(gateway) - first])
  let next = 1
  return {
    take() {
      for (let tried = 0; tried < size; tried++) {
        const offset = next
        next = (next + 1) % size
        if (taken.has(offset)) continue
        taken.add(offset)
        return toAddress(first + offset)
      }
      throw new Error(`All ${size} addresses of ${subnet} are in use`)
    },
    reserve(address) {
      const offset = toNumber(address) - first
      taken.add(offset)
      if (offset >= next) next = (offset + 1) % size
    },
    release(address) {
      taken.delete(toNumber(address) - first)
    },
  }
}

function toNumber(address: string): number {
  return address.split('.').reduce((value, part) => value * 256 + Number(part), 0)
}

function toAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.')
}
