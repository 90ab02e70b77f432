// What the lifecycle API is handed, and what its requests carry: for the routes, which know nothing of the app that they are a
// part of.

import type { KnownSets } from '../lib/api/network-policy.ts'
import type { Logger } from '../lib/log.ts'
import type { Access } from './access/access.ts'
import type { Principal } from './access/principal.ts'
import type { EgressAnswer, EgressRequest, EgressStream } from './egress-client.ts'
import type { Gateways } from './gateways.ts'
import type { ImageKeeper } from './image/keeper.ts'
import type { Observation } from './observe/open-observation.ts'
import type { Pooling } from './pools/open-pooling.ts'
import type { SandboxProxy } from './routes/proxy.ts'
import type { Lives } from './sandbox/lives.ts'
import type { OnceKeys } from './sandbox/once.ts'

export type AppSettings = {
  /** The configured public base of endpoints: host, port and path, without scheme. */
  eip?: string
  /** `localhost`, or a wildcard domain that really leads here. */
  domain: string
  /** How endpoints are written, where the configuration says so. */
  gateway?: { address: string; route: 'wildcard' | 'header' | 'uri' }
  /** Names that sandboxes may be given; none when absent. */
  customDomains?: readonly string[]
  maxTimeoutSeconds?: number
  /** Whose pages may use this API with a key, in lower case; any when absent. */
  corsOrigins?: readonly string[]
  /** Sets of targets that rules of a policy may name, as the configuration has them now; any name is taken when absent. */
  ruleSets?: () => KnownSets
  /** `amd64` or `arm64`. */
  arch: string
  version: string
  /** What opens the numbers for Prometheus, beside the operator's keys. */
  metricsToken?: string
}

export type AppDeps = {
  lives: Lives
  access: Access
  pooling: Pooling
  once: OnceKeys
  settings: AppSettings
  observation: Observation
  /** Present when the runtime has images that can be managed. */
  images?: ImageKeeper
  log: Logger
  /** Calls egress's policy API: see routes/network-policy.ts. */
  askEgress: (request: EgressRequest) => Promise<EgressAnswer>
  /** Opens an answer of the same API that does not end by itself. */
  openEgressStream?: (request: EgressRequest) => Promise<EgressStream>
  /** What egress counts, for those who ask control for numbers. */
  formatEgressMetrics?: () => Promise<string>
  /** Present when this server carries sandbox traffic itself because no gateway stands before it. */
  proxy?: SandboxProxy
  /** Present where gateways run on this machine. */
  gateways?: Gateways
  /** Whether `X-Forwarded-*` come from our own gateway. */
  trustForwarded: boolean
}

export type AppEnv = { Variables: { requestId: string; principal: Principal } }
