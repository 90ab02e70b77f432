// Which registries may be asked at all. A reference names a host, and who may make a sandbox names the reference: so a request could have
// this machine, or its Docker daemon, knock at doors that are open to nobody else, such as the cloud's metadata, and tell from the
// answer what is behind them. What lies at such an address is asked only when the operator has named it. A name is judged by what it stands for
// now; whoever pulls asks again, so this is no firewall (docs/images.md).

import { lookup } from 'node:dns/promises'
import ipaddr from 'ipaddr.js'
import type { ImageRequest } from '../runtime/images.ts'
import { RuntimeError } from '../runtime/runtime.ts'
import { HOST_ADDRESSES, type HostAddresses, lookAtHost } from './host-addresses.ts'
import type { Reference } from './reference.ts'

const LOOKUP_TIMEOUT_MS = 5000
const RANGES = ['unspecified', 'loopback', 'linkLocal', 'multicast', 'broadcast', 'reserved']
/** Those of clouds that look like any other address. */
const METADATA = ['168.63.129.16', '100.100.100.200', 'fd00:ec2::254', 'fd20:ce::254']

export type RegistryGuard = (
  asked: { reference: Reference; request: Pick<ImageRequest, 'uri'> },
  signal: AbortSignal,
) => Promise<void>

export type GuardOptions = {
  /** `host` or `host:port` of registries that the operator has named, wherever they are. */
  allowed: readonly string[]
  /** What the configuration calls by a name of its own is the operator's, too. */
  aliases: Record<string, string>
  /** The addresses of a host; the machine's own way to find them when absent. */
  addressesOf?: (host: string) => Promise<string[]>
  /** What this machine says of itself when absent. */
  host?: HostAddresses
  lookupMs?: number
}

/** Makes what rejects with RuntimeError when a registry is not to be asked. */
export function createRegistryGuard({
  allowed,
  aliases,
  addressesOf = resolve,
  host: machine = HOST_ADDRESSES,
  lookupMs = LOOKUP_TIMEOUT_MS,
}: GuardOptions): RegistryGuard {
  return async ({ reference: { registry }, request: { uri } }, signal) => {
    const host = registry.replace(/:\d+$/, '')
    if (allowed.includes(registry) || allowed.includes(host) || Object.hasOwn(aliases, uri)) return
    const isNamed = host === 'localhost' || host.endsWith('.localhost')
    const about = `Image "${uri.slice(0, 200)}" cannot be pulled: its registry "${registry}"`
    if (!isNamed) {
      const addresses = await within(addressesOf(host.replace(/^\[|\]$/g, '')), { signal, lookupMs })
      if (addresses === 'late')
        throw new RuntimeError(
          'image_pull_failed',
          `${about} has a name that no name server answered for within ${lookupMs / 1000} seconds, so nobody can tell whether it is at an address of this machine (runtime.internal_registries names those that are not looked up)`,
        )
      const isOfHost = lookAtHost(machine)
      if (!addresses.some((address) => isOfMachine(address) || isOfHost(address))) return
    }
    throw new RuntimeError(
      'image_denied',
      `${about} is at an address of this machine, of a sandbox or of its surroundings (loopback, link-local or metadata), and only the operator opens such a one (runtime.internal_registries)`,
    )
  }
}

/** Whether an address stands for the machine itself, its link, or what a cloud tells its machines. */
export function isOfMachine(address: string): boolean {
  // With what names the interface, which is link-local anyway.
  const plain = address.replace(/%.*$/, '')
  if (!ipaddr.isValid(plain)) return true
  const parsed = ipaddr.process(plain)
  const range = parsed.range()
  // An IPv4 address in the clothes of an IPv6 one.
  if (range === 'rfc6052') return isOfMachine(parsed.toByteArray().slice(12).join('.'))
  if (range === '6to4') return isOfMachine(parsed.toByteArray().slice(2, 6).join('.'))
  return RANGES.includes(range) || METADATA.includes(parsed.toString())
}

async function resolve(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address)
}

/** The addresses, or that none came in time; none when nobody knows the host: who asks it then has no other answer. */
async function within(
  found: Promise<string[]>,
  { signal, lookupMs }: { signal: AbortSignal; lookupMs: number },
): Promise<string[] | 'late'> {
  const over = AbortSignal.any([signal, AbortSignal.timeout(lookupMs)])
  const late = new Promise<'late'>((resolve) => {
    if (over.aborted) resolve('late')
    else over.addEventListener('abort', () => resolve('late'), { once: true })
  })
  const addresses = await Promise.race([found.catch(() => []), late])
  signal.throwIfAborted()
  return addresses
}
