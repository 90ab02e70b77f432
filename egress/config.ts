// What of the product's configuration egress needs, in the form in which it needs it.

import type { EgressServices } from '../lib/config/egress-services.ts'
import type { OtelConfig } from '../lib/config/otel.ts'
import type { Config } from '../lib/config.ts'
import type { DnsUpstream } from '../lib/name-server.ts'
import type { RuleSets } from '../lib/rule-sets.ts'
import type { Floor } from './policy/compile.ts'

export type EgressConfig = {
  dataDir: string
  logLevel: Config['log']['level']
  subnet: string
  subnet6?: string
  defaultAction: 'allow' | 'deny'
  floor: Floor
  ruleSets: RuleSets
  /** Empty: those of the host. */
  nameServers: DnsUpstream[]
  services: EgressServices
  /** Present when telemetry is sent. */
  otel?: OtelConfig
}

export const HELP = `Usage: npm run egress -- [flags]

Lets each sandbox reach what its network policy names, and nothing else.

  --config FILE    the configuration, ~/.sandbox.toml by default
  --data-dir DIR   where the state lies, /var/lib/opensandbox by default
  --sidecar        run in a pod, beside the workload and for it alone; the rest is said by environment (docs/egress-sidecar.md)
  --teardown       remove everything of this installation from the kernel, forget what was registered, and exit
  --help           this text

Rules of running sandboxes stay in the kernel when egress stops; nothing new is opened until it is back. When it stops and no
sandbox is left, it removes its table and its interface itself.
`

/** Takes its part of the configuration. */
export function readEgressConfig({ server, log, runtime, egress, otel }: Config): EgressConfig {
  return {
    dataDir: server.dataDir,
    logLevel: log.level,
    subnet: runtime.subnet,
    ...(runtime.subnet6 !== undefined && { subnet6: runtime.subnet6 }),
    defaultAction: egress.defaultAction,
    ruleSets: egress.ruleSets,
    floor: { deny: egress.alwaysDeny, allow: egress.alwaysAllow },
    nameServers: egress.upstreamDns,
    services: egress,
    ...(otel && { otel }),
  }
}
