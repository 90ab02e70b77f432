// What egress does for sandboxes beside filtering packets, and how much of it each may have: names, the proxy that programs may ask,
// and what the operator is told of names that were denied.

import type { Settings } from './changes.ts'

/** How much one sandbox may ask of the name server, so that names are no way out for what is not to leave. */
export type DnsLimits = {
  queriesPerSecond: number
  /** So many may come at once. */
  burst: number
  /** Different names below one registrable domain. */
  namesPerZonePerMinute: number
  /** Those of them that look like data in the disguise of a name. */
  encodedNamesPerZonePerMinute: number
  /** Questions whose answers are free text. */
  textPerMinute: number
}

export type DenyWebhook = {
  url: string
  /** By which a receiver can tell that a message is ours. */
  secret?: string
}

export type EgressServices = {
  dnsLimits: DnsLimits
  /** Absent when there is no proxy. */
  proxyPort?: number
  denyWebhook?: DenyWebhook
  /** Whether a TLS client may hide a name behind one that is allowed. */
  allowEch: boolean
  /** Where requests are read, of sandboxes that have a vault. */
  vaultPorts: number[]
  /** Whether secrets are taken only from clients that have sealed them on their way to the gateway. */
  vaultRequiresTls: boolean
  /** Addresses of names that no name server knows. */
  hostPins: ReadonlyMap<string, string>
  /** Authorities (PEM) that servers may have beside those that the machine trusts, where requests are read. */
  upstreamCaFile?: string
}

export function egressServicesOf(settings: Settings): EgressServices {
  const get = <T>(name: string) => settings.get(name) as T
  const url = get<string | undefined>('egress.deny_webhook.url')
  const upstreamCaFile = get<string | undefined>('egress.upstream_ca_file')
  const secret = get<string | undefined>('egress.deny_webhook.secret')
  return {
    dnsLimits: {
      queriesPerSecond: get('egress.dns_limits.queries_per_second'),
      burst: get('egress.dns_limits.burst'),
      namesPerZonePerMinute: get('egress.dns_limits.names_per_zone_per_minute'),
      encodedNamesPerZonePerMinute: get('egress.dns_limits.encoded_names_per_zone_per_minute'),
      textPerMinute: get('egress.dns_limits.text_per_minute'),
    },
    ...(get<boolean>('egress.proxy.enabled') && { proxyPort: get<number>('egress.proxy.port') }),
    ...(url !== undefined && { denyWebhook: { url, ...(secret !== undefined && { secret }) } }),
    allowEch: get('egress.allow_ech'),
    vaultPorts: get('egress.vault_ports'),
    vaultRequiresTls: get('egress.vault_require_tls'),
    hostPins: get('egress.host_pins'),
    ...(upstreamCaFile !== undefined && { upstreamCaFile }),
  }
}
