// The suite on one runtime, in a network namespace of its own that stands for the whole machine: `world.ts RUNTIME INTERNET FOLDER`.
// Prints one line of JSON, the outcomes of all cases. Started by run.ts.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { markOf } from '../../../egress/connections/routing.ts'
import type { NetworkPolicy } from '../../../lib/api/network-policy.ts'
import { instanceOf } from '../../../lib/instance.ts'
import { attackTarball } from '../../support/attack-image.ts'
import { startDocker } from '../../support/docker.ts'
import { type Edge, startEdge } from '../../support/edge.ts'
import { CASES } from './cases/all.ts'
import { HOST_PORT, listenOnHost, mergeArrivals } from './host-ports.ts'
import {
  type Arrivals,
  FIRST_PORT,
  HOST,
  type Internet,
  NAME_SERVER,
  OPEN,
  openInternet,
  openRecorder,
  TOKEN_PREFIX,
} from './internet.ts'
import { runIpv6 } from './ipv6.ts'
import type { Outcome } from './outcome.ts'
import { PACKAGE_CLIENTS } from './packages.ts'
import { performCases, runIn } from './perform.ts'
import { type AttackSandbox, createProductClient, enterNetwork, type ProductClient } from './product.ts'
import { runRaces } from './races.ts'
import { runThefts } from './thefts.ts'
import { NAMED_PORT } from './vault/names.ts'
import { startVaultServers, writeVaultCertificates } from './vault/servers.ts'
import { runVaultAttacks } from './vault-attacks.ts'

/** Where the product has it unless told otherwise. */
const PROXY_PORT = 3128

const allow = (...targets: string[]) => targets.map((target) => ({ action: 'allow' as const, target }))

/** What the attacker's sandbox may do. */
export const POLICY: NetworkPolicy = {
  defaultAction: 'deny',
  egress: [
    { action: 'deny', target: 'denied.test' },
    ...allow('good.example', 'other.example', 'alias.example', 'now.example', 'day.example', 'hint.example'),
    ...allow('*.tun.example', '*.rebind.example', '*.pkg.example', OPEN),
  ],
}
const NEIGHBOURS_POLICY: NetworkPolicy = { defaultAction: 'deny', egress: allow('*.tun.example', OPEN) }

export type World = {
  edge: Edge
  product: ProductClient
  internet: Internet
  /** Of the internet. */
  namespace: string
  attacker: AttackSandbox
  neighbour: AttackSandbox
  /** What has arrived anywhere where nothing of a case may. */
  arrivals(): Promise<Arrivals>
}

if (import.meta.main) {
  const [runtime = '', namespace = '', folder = ''] = process.argv.slice(2)
  const outcomes = await runWorld({ runtime, namespace, folder })
  writeFileSync(join(folder, 'outcomes.json'), JSON.stringify(outcomes))
  process.exit(0)
}

async function runWorld({
  runtime,
  namespace,
  folder,
}: {
  runtime: string
  namespace: string
  folder: string
}): Promise<Outcome[]> {
  await using cleanup = new AsyncDisposableStack()
  const internet = await openInternet({ namespace, folder: join(folder, 'internet') })
  cleanup.defer(() => internet.close())
  const caFile = writeVaultCertificates(join(folder, 'vault'))
  const servers = await startVaultServers({ namespace, folder: join(folder, 'vault') })
  cleanup.defer(() => servers.close())
  const docker = runtime === 'docker' ? await startDocker() : undefined
  if (docker) cleanup.defer(() => docker.dispose())
  const options = {
    args: ['--runtime', runtime],
    config:
      `[runtime.images]\nattack = ${JSON.stringify(await attackTarball())}\n` +
      `[egress]\nupstream_dns = ["${NAME_SERVER}"]\nupstream_ca_file = ${JSON.stringify(caFile)}\n` +
      `vault_ports = [80, 443, ${NAMED_PORT}]\n`,
    env: docker ? { DOCKER_HOST: docker.host } : {},
  }
  const edge = await startEdge(options)
  cleanup.defer(() => edge.dispose())
  const product = createProductClient(edge)
  const host = await listenOnHost()
  cleanup.defer(() => host.close())
  const neighbour = await product.create(NEIGHBOURS_POLICY)
  const attacker = await product.create(POLICY)
  const beside = await openRecorder(enterNetwork(neighbour))
  cleanup.defer(() => beside.close())
  const arrivals = async () =>
    mergeArrivals(...(await Promise.all([internet.recorder, beside, host].map((r) => r.read()))))
  const world: World = { edge, product, internet, namespace, attacker, neighbour, arrivals }
  return [
    ...(await runTable(world)),
    ...(await runPackages(world)),
    ...(await runThefts(world)),
    ...(await runVaultAttacks(world, servers)),
    ...(await runRaces(world)),
    // The last one, as it starts the product again.
    ...(await runIpv6({ edge, options }, () => internet.recorder.read())),
  ]
}

async function runTable(world: World): Promise<Outcome[]> {
  const { product, attacker, arrivals } = world
  return performCases({ product, attacker, cases: CASES, first: 0, facts: await factsOf(world), arrivals })
}

async function factsOf({ edge, attacker, neighbour }: World): Promise<Record<string, unknown>> {
  const { key } = instanceOf(edge.dataDir)
  const rules = await runIn([], ['nft', 'list', 'table', 'inet', `opensandbox_${key}`])
  const route = JSON.parse(await runIn(enterNetwork(attacker), ['ip', '-j', 'route', 'show', 'default'])) as {
    gateway: string
  }[]
  const gateway = route[0]?.gateway ?? ''
  const [a, b] = gateway.split('.')
  return {
    prefix: TOKEN_PREFIX,
    firstPort: FIRST_PORT,
    hostPort: HOST_PORT,
    gateway,
    host: HOST,
    subnet: `${a}.${b}.0.0/16`,
    lastAddress: `${a}.${b}.255.255`,
    freeAddress: `${a}.${b}.200.200`,
    neighbour: neighbour.address,
    own: attacker.address,
    interface: attacker.interface,
    ownMac: attacker.ownMac,
    hostMac: attacker.hostMac,
    mark: `0x${markOf(key).toString(16)}`,
    relayPort: /tproxy ip to 127\.0\.0\.1:(\d+)/.exec(rules)?.[1] ?? '0',
    proxyPort: PROXY_PORT,
    productPort: edge.port,
  }
}

/** pip, npm, apt and git by name rules alone. */
async function runPackages({ product, attacker, internet }: World): Promise<Outcome[]> {
  await product.run(
    attacker.id,
    `echo ${Buffer.from(internet.ca).toString('base64')} | base64 -d > /tmp/ca.pem`,
  )
  const outcomes: Outcome[] = []
  for (const [client, command] of Object.entries(PACKAGE_CLIENTS)) {
    const text = await product.run(attacker.id, command)
    const fetched = /^fetched$/m.test(text)
    outcomes.push({
      id: `W-${client}`,
      what: `${client} fetches from a registry that a name rule opens`,
      seen: fetched ? 'fetched' : text.slice(-300),
      arrived: fetched,
      ...(!fetched && { wrong: 'it was to work' }),
    })
  }
  return outcomes
}
