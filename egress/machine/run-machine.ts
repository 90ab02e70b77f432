// Egress for the sandboxes of this machine: network, name server, rules, then the two APIs. Stops in reverse and leaves the rules of running
// sandboxes.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { NetworkPolicy } from '../../lib/api/network-policy.ts'
import type { Config } from '../../lib/config.ts'
import { messageOf } from '../../lib/errors.ts'
import { type Instance, instanceOf, makeRunDir } from '../../lib/instance.ts'
import { createLogger, type Logger } from '../../lib/log.ts'
import { hasTerminal, loadConfiguration, makeDataDir, readConfiguration, refuse } from '../../lib/program.ts'
import { createReload } from '../../lib/reload.ts'
import { isListening, removeRunDir } from '../../lib/run-dir.ts'
import { runProgram } from '../../lib/run-program.ts'
import { serve } from '../../lib/serve.ts'
import { reportReady, stopSignal } from '../../lib/stop.ts'
import { createAdminApp, createPolicyApp } from '../app.ts'
import { whyNoFilter } from '../check-machine.ts'
import { type EgressConfig, readEgressConfig } from '../config.ts'
import { openRouting } from '../connections/routing.ts'
import { openEngine } from '../engine.ts'
import { openNetwork } from '../network.ts'
import { Frames } from '../nft/frames.ts'
import { type OwnRules, openOwnRules } from '../own-rules.ts'
import { openSandboxFiles } from '../sandbox-files.ts'
import type { Sandboxes } from '../sandboxes.ts'
import { saveMemory } from '../save-memory.ts'
import { lookAfter } from '../watch/look-after.ts'
import { type AroundTable, createAroundTable } from './around-table.ts'

type Sources = { env: NodeJS.ProcessEnv; args: string[] }

type Machine = {
  config: EgressConfig
  instance: Instance
  rules: OwnRules
  around: AroundTable
  stateDir: string
  networkFile: string
  log: Logger
}

const TEARDOWN = '--teardown'
const DNS_PORT = 53
const OPERATORS = ['egress.default_action', 'egress.always_deny', 'egress.always_allow', 'egress.rule_sets']

/** Runs until it is told to stop; the process ends when it cannot start. */
export async function runMachine(given: Sources): Promise<void> {
  const sources = { ...given, ownFlags: [TEARDOWN] }
  const loaded = readConfiguration(sources)
  const config = readEgressConfig(loaded.config)
  let { logLevel } = config
  const log = createLogger({ program: 'egress', level: () => logLevel })
  for (const warning of loaded.warnings) log.warn(warning)
  const isTeardown = loaded.flags.has(TEARDOWN)
  const machine = await openMachine(config, { isTeardown, log })
  if (isTeardown) {
    await tearDown(machine)
    return
  }
  let registered: Sandboxes | undefined
  // Control tells what else of the configuration has changed, for all programs.
  const reload = createReload({
    settings: loaded.settings,
    load: () => loadConfiguration(sources),
    reloadable: ['log.level', ...OPERATORS],
    async apply(next, changed) {
      logLevel = next.log.level
      if (!changed.some((name) => OPERATORS.includes(name))) return
      machine.config = readOperators(machine.config, next)
      const { defaultAction, floor, ruleSets: sets } = machine.config
      await registered?.changeOperators({ defaultPolicy: policyByDefault(machine), floor, sets })
      log.info('what the operator says of all sandboxes was changed', {
        defaultAction,
        alwaysDeny: floor.deny.length,
        alwaysAllow: floor.allow.length,
      })
    },
  })
  const signal = stopSignal(log, { hasTerminal: hasTerminal(), reload })
  try {
    await run(machine, signal, (sandboxes) => {
      registered = sandboxes
    })
  } catch (error) {
    if (signal.aborted) return
    log.debug('start failed', { error })
    refuse(`Cannot start egress: ${messageOf(error)}`)
  }
}

/** What egress works with on this machine; ends the process where it cannot run. */
async function openMachine(
  config: EgressConfig,
  { isTeardown, log }: { isTeardown: boolean; log: Logger },
): Promise<Machine> {
  if (process.getuid?.() !== 0)
    refuse('Cannot filter the network of sandboxes without root: start as root, or with sudo')
  const unfit = await whyNoFilter()
  if (unfit !== undefined) refuse(unfit)
  makeDataDir(config.dataDir)
  const instance = instanceOf(config.dataDir)
  makeRunDir(instance)
  if (await isListening(instance.egressSocket))
    refuse(`Egress of "${config.dataDir}" runs already: stop it first`)
  const stateDir = join(config.dataDir, 'egress')
  const networkFile = join(stateDir, 'network.json')
  const rules = openOwnRules({ key: instance.key, stateDir, isTeardown, log })
  const ipv6 = config.subnet6 !== undefined
  const around = createAroundTable({ rules, instance, stateDir, networkFile, ipv6, log })
  return { config, instance, rules, around, stateDir, networkFile, log }
}

async function tearDown({ instance, around, stateDir }: Machine): Promise<void> {
  try {
    await around.removeAll()
    rmSync(stateDir, { recursive: true, force: true })
    await removeRunDir(instance)
  } catch (error) {
    refuse(`Cannot remove everything: ${messageOf(error)}`)
  }
}

async function run(
  machine: Machine,
  signal: AbortSignal,
  onSandboxes: (sandboxes: Sandboxes) => void,
): Promise<void> {
  const { config, instance, rules, around, stateDir, networkFile, log } = machine
  const { key, interfacePrefix } = instance
  const { table, mark } = rules
  const { services, nameServers, otel } = config
  const files = openSandboxFiles(join(stateDir, 'sandboxes'), log)
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
  const ipv6 = gateway6 !== undefined
  await openRouting(mark, runProgram, { ipv6 })
  const engine = await openEngine({
    stateDir,
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
    nft: rules.nft,
    files,
    defaultPolicy: policyByDefault(machine),
    floor: config.floor,
    sets: config.ruleSets,
    log,
    signal,
  })
  const { sandboxes, record, vaults, authorities, interception, observation } = engine
  onSandboxes(sandboxes)
  await sandboxes.load()
  const interfaces = () => sandboxes.list().map((each) => each.interface)
  const frames = new Frames({ nft: rules.nft, table, ipv6, interfaces, log, signal })
  await frames.build()
  await around.guard()
  engine.begin()
  const makeWay = async () => {
    await around.makeWay().catch((error) => log.warn('cannot look at other firewalls', { error }))
  }
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
      onRegistered(name) {
        void frames.put(name)
        void makeWay()
      },
      onRemoved: (name) => void frames.drop(name),
    }).fetch,
    listen: { socketPath: instance.egressSocket },
    signal,
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
    signal,
  })
  log.info('ready', { ...network, sandboxes: sandboxes.size, table })
  reportReady()
  saveMemory({ connections: engine.connections, signal })

  const everyTime = async () => {
    await around.makeWay()
    await around.guard()
  }
  await lookAfter({ rules, engine, frames, ipv6, everyTime, log, signal })
  await Promise.all([policy.closed, admin.closed, engine.close()])
  // With no sandbox there is nothing to keep closed, so nothing is left behind.
  if (sandboxes.size === 0) await around.removeAll()
}

/** What applies to sandboxes without a policy of their own. */
function policyByDefault({ config: { defaultAction } }: Machine): NetworkPolicy {
  return { defaultAction, egress: [] }
}

/** A configuration with what another says of all sandboxes. */
function readOperators(config: EgressConfig, next: Config): EgressConfig {
  const { defaultAction, floor, ruleSets } = readEgressConfig(next)
  return { ...config, defaultAction, floor, ruleSets }
}
