// Egress as one of the containers of a pod: the same engine for the one sandbox that the pod is. It starts before the workload and closes
// the pod, opens what the policy says, and leaves its rules when it goes: they end with the pod.

import { join } from 'node:path'
import { messageOf } from '../../lib/errors.ts'
import { createToken } from '../../lib/id.ts'
import { instanceOf } from '../../lib/instance.ts'
import { createLogger, type Logger } from '../../lib/log.ts'
import {
  hasTerminal,
  makeDataDir,
  orRefuse,
  readConfiguration,
  readIfThere,
  refuse,
} from '../../lib/program.ts'
import { runProgram } from '../../lib/run-program.ts'
import { type Serving, serve } from '../../lib/serve.ts'
import { stopSignal } from '../../lib/stop.ts'
import { whyNoFilter } from '../check-machine.ts'
import { type EgressConfig, readEgressConfig } from '../config.ts'
import { openRouting } from '../connections/routing.ts'
import { openEngine } from '../engine.ts'
import { openOwnRules } from '../own-rules.ts'
import type { Floor } from '../policy/compile.ts'
import { createOwnAddresses } from '../proxy/open-proxy.ts'
import { saveMemory } from '../save-memory.ts'
import { lookAfter } from '../watch/look-after.ts'
import { ALWAYS_DIRECTORY, createAlwaysWatch, readAlwaysFiles } from './always-files.ts'
import { isNetworkOfMachine } from './network-of-machine.ts'
import { findOwnCgroup, probeOwnCgroup } from './own-cgroup.ts'
import { createPodApi, limitFromWithin, type PodApi } from './pod-api.ts'
import { createPodForm, podRelay } from './pod-rules.ts'
import { openPolicyFile } from './policy-file.ts'
import { readSidecarConfig, type SidecarConfig } from './sidecar-config.ts'
import { writeTrust } from './trust.ts'

type Starting = {
  config: EgressConfig
  sidecar: SidecarConfig
  api: PodApi
  serving: Serving
  log: Logger
  signal: AbortSignal
}

const FLAG = '--sidecar'
const LOOPBACK = '127.0.0.1'
const LOOPBACK_RANGE = '127.0.0.0/8'
/** Names of the one sandbox where sandboxes have an interface each. */
const INTERFACE = 'pod'
const DNS_PORT = 15_353

export function isSidecar(args: readonly string[]): boolean {
  return args.includes(FLAG)
}

/** Runs until it is told to stop; the process ends when it cannot start. */
export async function runSidecar(sources: { env: NodeJS.ProcessEnv; args: string[] }): Promise<void> {
  const loaded = readConfiguration({ ...sources, ownFlags: [FLAG] })
  const config = readEgressConfig(loaded.config)
  const sidecar = orRefuse(() => readSidecarConfig(sources.env, config.ruleSets))
  const log = createLogger({ program: 'egress', level: sidecar.logLevel ?? config.logLevel })
  for (const warning of [...loaded.warnings, ...sidecar.warnings]) log.warn(warning)
  if (isNetworkOfMachine())
    refuse(
      'Cannot filter a pod in the network of the machine: a pod with "hostNetwork: true" can have no sidecar',
    )
  if (config.services.vaultRequiresTls)
    refuse('egress.vault_require_tls cannot be on for a sidecar: its API is served in the clear')
  const unfit = await whyNoFilter()
  if (unfit !== undefined) refuse(unfit)
  makeDataDir(config.dataDir)
  const reload = () => log.warn(`SIGHUP changes nothing here: "${ALWAYS_DIRECTORY}" is looked at by itself`)
  const signal = stopSignal(log, { hasTerminal: hasTerminal(), reload })
  try {
    const api = createPodApi(sidecar.sandboxId)
    // Before anything is changed: a second one in the same pod stops here.
    const serving = await serve({ fetch: api.fetch, listen: sidecar.listen, signal, prepare: limit })
    await run({ config, sidecar, api, serving, log, signal })
  } catch (error) {
    if (signal.aborted) return
    log.debug('start failed', { error })
    refuse(`Cannot start egress: ${messageOf(error)}`)
  }
}

async function run({ config, sidecar, api, serving, log, signal }: Starting): Promise<void> {
  const { key } = instanceOf(config.dataDir)
  const { sandboxId: id } = sidecar
  const stateDir = join(config.dataDir, 'egress')
  const rules = openOwnRules({ key, stateDir, log })
  const { table, mark, nft } = rules
  const own = await probeOwnCgroup(nft, readOwnCgroup())
  const always = readAlwaysFiles(ALWAYS_DIRECTORY)
  const sandbox = {
    address: LOOPBACK,
    interface: INTERFACE,
    // One that nobody knows, when nobody is to ask.
    token: sidecar.token ?? createToken(),
    ...(sidecar.credentialProxy && { credentialProxy: true }),
  }
  await openRouting(mark, runProgram)
  const defaultPolicy = { defaultAction: 'deny' as const, egress: [] }
  const { proxyPort: _, ...services } = config.services
  const vaultPorts = [...new Set([...services.vaultPorts, ...sidecar.extraPorts])]
  const engine = await openEngine({
    nft,
    files: openPolicyFile(sidecar.policyFile ?? join(stateDir, 'policy.json'), { id, ...sandbox }),
    form: createPodForm({ id, own, apiPort: serving.port }),
    only: id,
    stateDir,
    services: {
      ...services,
      vaultPorts,
      ...(sidecar.upstreamCaFile !== undefined && { upstreamCaFile: sidecar.upstreamCaFile }),
    },
    nameServers: sidecar.nameServers.length > 0 ? sidecar.nameServers : config.nameServers,
    ...(config.otel && { otel: config.otel }),
    defaultPolicy,
    floor: floorOf(config, sidecar, always),
    sets: config.ruleSets,
    address: LOOPBACK,
    dnsPort: DNS_PORT,
    subnet: LOOPBACK_RANGE,
    baseOf: (ports) => ({
      table,
      interfacePrefix: INTERFACE,
      subnet: LOOPBACK_RANGE,
      gateway: LOOPBACK,
      mark,
      relay: podRelay(mark),
      ...ports,
    }),
    log,
    signal,
  })
  const { sandboxes, vaults, record, authorities } = engine
  await sandboxes.load()
  const { policy } = sidecar
  await sandboxes.register(id, { ...sandbox, ...(policy && { policy }) })
  if (sidecar.credentialProxy) writeTrust(sidecar.trustDir, authorities.authorityOf(id).certificate)
  engine.begin()
  api.open({ sandboxes, record, vaults, ports: vaultPorts, log })
  saveMemory({ connections: engine.connections, signal })
  log.info('ready', { sandbox: id, port: serving.port, table, credentialProxy: sidecar.credentialProxy })

  const everyTime = createAlwaysWatch({
    directory: ALWAYS_DIRECTORY,
    known: always,
    change: (files) =>
      sandboxes.changeOperators({
        defaultPolicy,
        floor: floorOf(config, sidecar, files),
        sets: config.ruleSets,
      }),
    log,
  })
  await lookAfter({ rules, engine, ipv6: false, notesIpv6: true, everyTime, log, signal })
  await Promise.all([serving.closed, engine.close()])
}

function limit(server: Serving['server']): void {
  limitFromWithin(server, createOwnAddresses())
}

function readOwnCgroup(): string {
  const read = (name: string) => readIfThere(`/proc/self/${name}`) ?? ''
  return findOwnCgroup({ cgroup: read('cgroup'), mountinfo: read('mountinfo') })
}

/** What stands before the policy: of the configuration, of the environment and of the files. */
function floorOf({ floor }: EgressConfig, { alwaysDeny }: SidecarConfig, always: Floor): Floor {
  return {
    deny: [...floor.deny, ...alwaysDeny, ...always.deny],
    allow: [...floor.allow, ...always.allow],
  }
}
