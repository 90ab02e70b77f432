import { type AddressPool, createAddressPool } from './addresses.ts'
import type { Network6 } from './network.ts'
import type { RuntimeOptions } from './open-runtime.ts'
import { listSandboxIds, pathsOf, readRecord } from './sandbox-record.ts'

const EGRESS_TIMEOUT_MS = 10_000

/** Asks egress for its subnet, in which the sandboxes that there are keep their addresses. */
export async function openAddresses({
  egress,
  dataDir,
  instance,
  signal,
}: Pick<RuntimeOptions, 'egress' | 'dataDir' | 'instance' | 'signal'>): Promise<{
  addresses: AddressPool
  gateway: string
  ipv6?: Network6
}> {
  const { subnet, gateway, subnet6, gateway6 } = await egress.network(
    AbortSignal.any([signal, AbortSignal.timeout(EGRESS_TIMEOUT_MS)]),
  )
  const addresses = createAddressPool(subnet, gateway)
  for (const id of await listSandboxIds(dataDir)) {
    const record = readRecord(pathsOf(id, { dataDir, runDir: instance.runDir }).record)
    if (record) addresses.reserve(record.address)
  }
  const hasIpv6 = subnet6 !== undefined && gateway6 !== undefined
  return { addresses, gateway, ...(hasIpv6 && { ipv6: { subnet: subnet6, gateway: gateway6 } }) }
}
