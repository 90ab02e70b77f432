// What judges names, connections and secrets, whatever the form in which sandboxes come: many of a machine, or the one of a pod. How
// packets are led here is the caller's to say.

import { join } from 'node:path'
import type { EgressServices } from '../lib/config/egress-services.ts'
import type { OtelConfig } from '../lib/config/otel.ts'
import type { Logger } from '../lib/log.ts'
import type { DnsUpstream } from '../lib/name-server.ts'
import { readTrusted } from '../lib/read-trusted.ts'
import { Flows } from './connections/flows.ts'
import { createRelay, createRelayer } from './connections/relay.ts'
import { listenTransparently } from './connections/transparent.ts'
import { createDenyWebhook } from './deny-webhook.ts'
import { type Answerer, createAnswerer } from './dns/answer.ts'
import { nameServersOf } from './dns/host-servers.ts'
import { createDnsMeter } from './dns/limits.ts'
import { withPins } from './dns/pinned.ts'
import { createResolver } from './dns/resolve.ts'
import { openDnsServer } from './dns/server.ts'
import { Upstream } from './dns/upstream.ts'
import { type Authorities, openAuthorities } from './interception/authority.ts'
import { decidedOf } from './interception/exchange.ts'
import { createTrust, Interception } from './interception/interception.ts'
import { leaveNoCore } from './leave-no-core.ts'
import { type Observation, openObservation } from './observation.ts'
import { parseRange } from './policy/addresses.ts'
import { createOwnAddresses, openProxy, PROXY_NAME } from './proxy/open-proxy.ts'
import { createProxy } from './proxy/serve-client.ts'
import { openQueuedBytes } from './queued-bytes.ts'
import { DecisionRecord } from './record.ts'
import { Sandboxes, type SandboxesOptions } from './sandboxes.ts'
import { StallWatch } from './stall-watch.ts'
import { SandboxVaults } from './vault/sandbox-vaults.ts'
import { openSealing, sealOfAuthorities } from './vault/sealing.ts'
import { openVaultFiles } from './vault/vault-files.ts'

export type EngineOptions = Pick<
  SandboxesOptions,
  'nft' | 'files' | 'defaultPolicy' | 'floor' | 'sets' | 'form' | 'only'
> & {
  /** Where vaults, their keys and the authorities lie. */
  stateDir: string
  services: EgressServices
  nameServers: DnsUpstream[]
  otel?: OtelConfig
  /** Where the name server listens, and the proxy where there is one. */
  address: string
  /** Where the name server listens, too, when sandboxes have IPv6. */
  address6?: string
  dnsPort: number
  /** The range that sandboxes have their addresses in. */
  subnet: string
  baseOf: (ports: EnginePorts) => SandboxesOptions['base']
  log: Logger
  signal: AbortSignal
}

export type EnginePorts = {
  dnsPort: number
  relayPort: number
  proxyPort?: number
  /** Where sandboxes have IPv6. */
  ports6?: { dnsPort: number; relayPort: number }
}

export type Engine = {
  /** Nothing of them is in the kernel before they are loaded. */
  sandboxes: Sandboxes
  vaults: SandboxVaults
  authorities: Authorities
  interception: Interception
  record: DecisionRecord
  observation: Observation
  /** How many connections are relayed at the moment. */
  connections(): number
  /** Answers questions and takes who asks the proxy; for when the sandboxes are loaded. */
  begin(): void
  /** Resolves when nothing is under way any more, once the signal is aborted. */
  close(): Promise<void>
}

/** Connections that are relayed at once. */
const FLOW_LIMITS = { perSandbox: 1024, total: 16_384 }

export async function openEngine(options: EngineOptions): Promise<Engine> {
  const { services, stateDir, address, address6, nft, log, signal } = options
  leaveNoCore(log)
  let registered: Sandboxes | undefined
  // The server's port is part of the rules, and its answers need the sandboxes that the rules are made for.
  let answerer: Answerer | undefined
  const openDns = (on: string) =>
    openDnsServer({
      address: on,
      port: options.dnsPort,
      answer: async (...question) => answerer?.(...question),
      log,
      signal,
    })
  const dns = await openDns(address)
  const dns6 = address6 === undefined ? undefined : await openDns(address6)
  if (dns.port !== options.dnsPort)
    log.info('another program has the port of the name server: sandboxes are led to another', {
      wanted: options.dnsPort,
      port: dns.port,
    })
  const sealing = openSealing(join(stateDir, 'vault-keys'))
  const vaults = new SandboxVaults(openVaultFiles(join(stateDir, 'vaults'), sealing), log)
  const authorities = openAuthorities({
    directory: join(stateDir, 'authorities'),
    seal: sealOfAuthorities(sealing),
  })
  const flows = new Flows(FLOW_LIMITS)
  const upstream = new Upstream({ servers: nameServersOf(options.nameServers) })
  const webhook = services.denyWebhook && createDenyWebhook({ webhook: services.denyWebhook, log, signal })
  const observation = await openObservation({
    figures: {
      sandboxes: () => registered?.size ?? 0,
      rules: () => registered?.figures.rules ?? 0,
      learned: () => registered?.figures.learned ?? 0,
      connections: () => flows.total,
      upstream: () => upstream.counts,
      ...(webhook && { webhook: () => webhook.counts }),
    },
    ...(options.otel && { otel: options.otel }),
    log,
  })
  nft.follow(observation.rulesApplied)
  const record = new DecisionRecord({
    tenantOf: (id) => registered?.get(id)?.tenant,
    onDecided: observation.decided,
  })
  const meter = createDnsMeter(services.dnsLimits)
  const trusted = services.upstreamCaFile === undefined ? [] : readTrusted(services.upstreamCaFile)
  const stalls = new StallWatch({ queuedBytesOf: openQueuedBytes() })
  const interception = new Interception({
    vaults,
    authorities,
    trust: createTrust(trusted),
    stalls,
    onExchange: (id, exchange) => record.add(id, decidedOf(exchange)),
    log,
  })
  const relaying = {
    sandboxes: () => sandboxes,
    flows,
    record,
    allowEch: services.allowEch,
    interception,
    stalls,
    log,
  }
  const beginRelay = createRelayer(relaying)
  const relay = createRelay(relaying, beginRelay)
  const relayPort = await listenTransparently(relay)
  const relay6 = dns6 && createRelay(relaying, beginRelay)
  const ports6 =
    dns6 && relay6 ? { ports6: { dnsPort: dns6.port, relayPort: await listenTransparently(relay6, 6) } } : {}
  const proxy = await openProxy({ address, port: services.proxyPort, log })
  const proxyPort = proxy.port === undefined ? {} : { proxyPort: proxy.port }
  const { files, defaultPolicy, floor, sets, form, only } = options
  const sandboxes = new Sandboxes({
    base: {
      ...options.baseOf({ dnsPort: dns.port, relayPort, ...proxyPort, ...ports6 }),
      dnsPerSecond: services.dnsLimits.queriesPerSecond,
    },
    nft,
    files,
    defaultPolicy,
    ...(floor && { floor }),
    ...(sets && { sets }),
    ...(form && { form }),
    ...(only !== undefined && { only }),
    flows,
    record: {
      remove(id) {
        record.remove(id)
        meter.remove(id)
      },
    },
    pins: services.hostPins,
    readPorts: services.vaultPorts,
    requireKept: (id, policy) => vaults.requireCovered(id, policy),
    log,
  })
  registered = sandboxes

  return {
    sandboxes,
    vaults,
    authorities,
    interception,
    record,
    observation,
    connections: () => flows.total,
    begin() {
      const resolve = createResolver({
        sandboxes,
        upstream: withPins(upstream, services.hostPins),
        meter,
        record,
        onDenied: ({ id, tenant }, hostname) =>
          webhook?.tell({ hostname, sandboxId: id, ...(tenant !== undefined && { tenant }) }),
        own: new Map(proxy.port === undefined ? [] : [[PROXY_NAME, address]]),
        log,
        signal,
      })
      const isOwn = createOwnAddresses()
      const subnet = parseRange(options.subnet)
      const readPorts = services.vaultPorts
      proxy.serve(createProxy({ sandboxes, resolve, beginRelay, subnet, isOwn, readPorts, record, log }))
      answerer = createAnswerer({
        sandboxes,
        resolve,
        onCrowded: ({ id }, name) =>
          record.add(id, { kind: 'name', verdict: 'deny', name, reason: 'too many questions at once' }),
        onAnswered: observation.questionAnswered,
      })
    },
    async close() {
      relay.close()
      relay6?.close()
      interception.close()
      proxy.close()
      upstream.close()
      flows.endEvery()
      await Promise.all([dns.closed, dns6?.closed, observation.close()])
    },
  }
}
