// Starts egress: network, name server, rules, then the two APIs. Stops in reverse and leaves the rules of running sandboxes.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { NetworkPolicy } from '../lib/api/network-policy.ts'
import { messageOf } from '../lib/errors.ts'
import { type Instance, instanceOf, makeRunDir } from '../lib/instance.ts'
import { createLogger } from '../lib/log.ts'
import {
  hasTerminal,
  loadConfiguration,
  makeDataDir,
  readConfiguration,
  readIfThere,
  refuse,
} from '../lib/program.ts'
import { createReload } from '../lib/reload.ts'
import { runProgram } from '../lib/run-program.ts'
import { serve } from '../lib/serve.ts'
import { reportReady, stopSignal } from '../lib/stop.ts'
import { createAdminApp, createPolicyApp } from './app.ts'
import { isListening, whyNoFilter } from './check-machine.ts'
import { type EgressConfig, HELP, readEgressConfig } from './config.ts'
import { closeRouting, markOf, openRouting } from './connections/routing.ts'
import { openEngine } from './engine.ts'
import { explainPacket } from './explain.ts'
import { closeNetwork, forgetNetwork, openNetwork } from './network.ts'
import { Nft } from './nft/apply.ts'
import { createForeignFirewalls } from './nft/foreign.ts'
import { closeGuard, openGuard } from './nft/guard.ts'
import { openKernelWriter } from './nft/netlink/kernel-writer.ts'
import { nameNft } from './nft/own-name.ts'
import { createRefusedLog } from './nft/refused.ts'
import { formatTeardown, tableName } from './nft/rules.ts'
import type { DecisionRecord } from './record.ts'
import { openSandboxFiles } from './sandbox-files.ts'
import type { Sandboxes } from './sandboxes.ts'
import { saveMemory } from './save-memory.ts'
import { isSidecar, runSidecar } from './sidecar/run-sidecar.ts'
import { keepRules } from './watch/keep-rules.ts'

const TEARDOWN = '--teardown'
const DNS_PORT = 53

const args = process.argv.slice(2)
if (args.includes('--help')) {
  process.stdout.write(HELP)
  process.exit(0)
}
if (isSidecar(args)) {
  await runSidecar({ env: process.env, args })
  process.exit(0)
}
const sources = { env: process.env, args, ownFlags: [TEARDOWN] }
const loaded = readConfiguration(sources)
const config = readEgressConfig(loaded.config)
const isTeardown = loaded.flags.has(TEARDOWN)
let { logLevel } = config
const log = createLogger({ program: 'egress', level: () => logLevel })
for (const warning of loaded.warnings) log.warn(warning)
if (process.getuid?.() !== 0)
  refuse('Cannot filter the network of sandboxes without root: start as root, or with sudo')
const unfit = await whyNoFilter()
if (unfit !== undefined) refuse(unfit)
makeDataDir(config.dataDir)
const instance = instanceOf(config.dataDir)
makeRunDir(instance)
if (await isListening(instance.egressSocket))
  refuse(`Egress of "${config.dataDir}" runs already: stop it first`)

const { key, interfacePrefix } = instance
const table = tableName(key)
const mark = markOf(key)
const stateDir = join(config.dataDir, 'egress')
const networkFile = join(stateDir, 'network.json')
const files = openSandboxFiles(join(stateDir, 'sandboxes'), log)
let onRules: ((isFailed: boolean) => void) | undefined
const ownNft = nameNft({ directory: stateDir, key })
const writer = isTeardown ? undefined : openKernelWriter(log)
const nft = new Nft(runProgram, {
  program: ownNft.path,
  ...(writer && { writer }),
  onApplied: (isFailed) => onRules?.(isFailed),
})
const foreign = createForeignFirewalls({
  nft,
  run: runProgram,
  interfacePrefix,
  ipv6: config.subnet6 !== undefined,
  comment: table,
  log,
  readLegacyTables: () => readIfThere('/proc/net/ip_tables_names'),
})

if (isTeardown) {
  try {
    await removeAll()
    rmSync(stateDir, { recursive: true, force: true })
    rmSync(instance.egressSocket, { force: true })
    rmSync(instance.policySocket, { force: true })
  } catch (error) {
    refuse(`Cannot remove everything: ${messageOf(error)}`)
  }
  process.exit(0)
}

let registered: Sandboxes | undefined
let canGuard = true
const OPERATORS = ['egress.default_action', 'egress.always_deny', 'egress.always_allow', 'egress.rule_sets']
let { defaultAction } = config
// Control tells what else of the configuration has changed, for all programs.
const reload = createReload({
  settings: loaded.settings,
  load: () => loadConfiguration(sources),
  reloadable: ['log.level', ...OPERATORS],
  async apply(next, changed) {
    logLevel = next.log.level
    if (!changed.some((name) => OPERATORS.includes(name))) return
    const { floor, ruleSets: sets } = readEgressConfig(next)
    defaultAction = next.egress.defaultAction
    await registered?.changeOperators({ defaultPolicy: policyByDefault(), floor, sets })
    log.info('what the operator says of all sandboxes was changed', {
      defaultAction,
      alwaysDeny: floor.deny.length,
      alwaysAllow: floor.allow.length,
    })
  },
})
const stop = stopSignal(log, { hasTerminal: hasTerminal(), reload })
try {
  await run(config, instance)
} catch (error) {
  if (!stop.aborted) {
    log.debug('start failed', { error })
    refuse(`Cannot start egress: ${messageOf(error)}`)
  }
}
process.exit(0)

async function run(config: EgressConfig, instance: Instance): Promise<void> {
  const { services, nameServers, otel } = config
  const network = await openNetwork({
    wanted: config.subnet,
    ...(config.subnet6 !== undefined && { wanted6: config.subnet6 }),
    key,
    interfacePrefix,
    file: networkFile,
    hasSandboxes: files.load().length > 0,
    run: runProgram,
    log,
  })
  const { subnet6, gateway6 } = network
  const hasIpv6 = gateway6 !== undefined
  await openRouting(mark, runProgram, { ipv6: hasIpv6 })
  const engine = await openEngine({
    directories: {
      vaultKeys: join(stateDir, 'vault-keys'),
      vaults: join(stateDir, 'vaults'),
      authorities: join(stateDir, 'authorities'),
    },
    services,
    nameServers,
    ...(otel && { otel }),
    address: network.gateway,
    ...(gateway6 !== undefined && { address6: gateway6 }),
    dnsPort: DNS_PORT,
    subnet: network.subnet,
    baseOf: ({ ports6, ...ports }) => ({
      ...{ table, interfacePrefix, mark, subnet: network.subnet, gateway: network.gateway, ...ports },
      ...(subnet6 && gateway6 && ports6 && { ipv6: { subnet: subnet6, gateway: gateway6, ...ports6 } }),
    }),
    nft,
    files,
    defaultPolicy: policyByDefault(),
    floor: config.floor,
    sets: config.ruleSets,
    log,
    signal: stop,
  })
  const { sandboxes, record, vaults, authorities, interception, observation } = engine
  onRules = observation.rulesApplied
  registered = sandboxes
  await sandboxes.load()
  await guard()
  engine.begin()
  await makeWay()

  const admin = await serve({
    fetch: createAdminApp({
      network: { ...network, interfacePrefix },
      metrics: observation.metrics,
      sandboxes,
      authorities,
      vaults: {
        forget(id) {
          vaults.forget(id)
          interception.remove(id)
        },
      },
      log,
      onRegistered: () => void makeWay(),
    }).fetch,
    listen: { socketPath: instance.egressSocket },
    signal: stop,
  })
  const policy = await serve({
    fetch: createPolicyApp({
      sandboxes,
      record,
      vaults,
      ports: services.vaultPorts,
      requiresTls: services.vaultRequiresTls,
      log,
    }).fetch,
    listen: { socketPath: instance.policySocket },
    signal: stop,
  })
  log.info('ready', { ...network, sandboxes: sandboxes.size, table })
  reportReady()
  saveMemory({ connections: engine.connections, signal: stop })

  await watch({ sandboxes, record, hasIpv6 })
  await Promise.all([policy.closed, admin.closed, engine.close()])
  // With no sandbox there is nothing to keep closed, so nothing is left behind.
  if (sandboxes.size === 0) await removeAll()
}

/** What applies to sandboxes without a policy of their own. */
function policyByDefault(): NetworkPolicy {
  return { defaultAction, egress: [] }
}

/** Until the stop: tells what the kernel refused, puts back rules that something removed, follows other firewalls. */
async function watch({
  sandboxes,
  record,
  hasIpv6,
}: {
  sandboxes: Sandboxes
  record: DecisionRecord
  hasIpv6: boolean
}): Promise<void> {
  const logRefused = createRefusedLog({
    nft,
    table,
    ipv6: hasIpv6,
    sandboxOf: (name) => sandboxes.byInterface(name),
    explain: explainPacket,
    record,
    log,
  })
  await keepRules({
    table,
    nft: ownNft,
    isOwn: (generation) => nft.isOwn(generation),
    close: () => sandboxes.close(),
    repair: () => sandboxes.repair(),
    openRouting: () => openRouting(mark, runProgram, { ipv6: hasIpv6 }),
    look: logRefused,
    async everyTime() {
      await foreign.open()
      await guard()
    },
    log,
    signal: stop,
  })
}

/** Keeps the sandboxes closed when the rules are gone, where the kernel can. */
async function guard(): Promise<void> {
  if (!canGuard) return
  const options = {
    nft,
    run: runProgram,
    ownNft,
    directory: stateDir,
    table,
    interfacePrefix,
    relayMark: mark,
  }
  canGuard = await openGuard(options)
  if (!canGuard)
    log.warn(
      'this kernel does not protect a table of ours (it needs 5.12): when another program removes all rules, sandboxes are open until ours are put back',
    )
}

async function makeWay(): Promise<void> {
  try {
    await foreign.open()
  } catch (error) {
    log.warn('cannot look at other firewalls', { error })
  }
}

async function removeAll(): Promise<void> {
  await foreign.close()
  closeGuard({ directory: stateDir, ownNft })
  await nft.apply(formatTeardown({ table }))
  await closeRouting(mark, runProgram)
  await closeNetwork({ interfacePrefix, file: networkFile, run: runProgram })
  if (isTeardown) forgetNetwork(networkFile)
}
