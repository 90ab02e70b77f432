// The suite on one runtime, in a network namespace of its own that stands for the whole machine: `world.ts RUNTIME INTERNET FOLDER`.
// Prints one line of JSON, the outcomes of all cases. Started by run.ts.

import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
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
import { judge, type Outcome, type Performed } from './outcome.ts'
import { PACKAGE_CLIENTS } from './packages.ts'
import {
  type AttackSandbox,
  createProductClient,
  enter,
  enterNetwork,
  type ProductClient,
} from './product.ts'
import { runRaces } from './races.ts'
import { runThefts } from './thefts.ts'
import { startVaultServers, writeVaultCertificates } from './vault/servers.ts'
import { runVaultAttacks } from './vault-attacks.ts'

/** Where the product has it unless told otherwise. */
const PROXY_PORT = 3128
const ATTACK_MS = 180_000
/** Until the kernel has told egress what it refused. */
const RECORD_MS = 8000

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
  const edge = await startEdge({
    args: ['--runtime', runtime],
    config:
      `[runtime.images]\nattack = ${JSON.stringify(await attackTarball())}\n` +
      `[egress]\nupstream_dns = ["${NAME_SERVER}"]\nupstream_ca_file = ${JSON.stringify(caFile)}\n`,
    env: docker ? { DOCKER_HOST: docker.host } : {},
  })
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
  const world: World = { edge, product, internet, attacker, neighbour, arrivals }
  return [
    ...(await runTable(world)),
    ...(await runPackages(world)),
    ...(await runThefts(world)),
    ...(await runVaultAttacks(world, servers)),
    ...(await runRaces(world)),
  ]
}

/** The cases of the table, in two programs: as root of the sandbox, and with all capabilities in its network. */
async function runTable(world: World): Promise<Outcome[]> {
  const { product, attacker } = world
  const facts = await factsOf(world)
  await using followed = product.follow(attacker.id)
  const performed = new Map<number, Performed>()
  for (const as of ['root', 'all'] as const) {
    const file = `/tmp/attack-${as}.py`
    const program = formatProgram(as)
    await product.run(attacker.id, `echo ${Buffer.from(program).toString('base64')} | base64 -d > ${file}`)
    const text =
      as === 'root'
        ? await product.run(attacker.id, `python3 ${file} '${JSON.stringify(facts)}'`)
        : await runIn(enter(attacker), ['python3', file, JSON.stringify(facts)])
    for (const line of text.split('\n'))
      if (line.startsWith('RESULT ')) {
        const one = JSON.parse(line.slice('RESULT '.length)) as Performed
        performed.set(one.number, one)
      }
    if (!text.includes('RESULT ')) throw new Error(`The attacking program has failed:\n${text}`)
  }
  const judgeAll = async () => {
    const arrived = await world.arrivals()
    return CASES.map((one, number) =>
      judge(one, {
        performed: performed.get(number),
        arrivals: arrived[number]?.count ?? 0,
        events: followed.events,
        token: `${TOKEN_PREFIX}${number}x`,
      }),
    )
  }
  // The kernel is asked now and then what it has refused.
  const deadline = performance.now() + RECORD_MS
  let outcomes = await judgeAll()
  while (
    outcomes.some(({ wrong }) => wrong === 'nothing was recorded of it') &&
    performance.now() < deadline
  ) {
    await delay(500)
    outcomes = await judgeAll()
  }
  return outcomes
}

function formatProgram(as: 'root' | 'all'): string {
  const numbered = CASES.map((one, number) => ({ ...one, number })).filter((one) => one.as === as)
  const alone = numbered.filter(({ isAlone }) => isAlone).map(({ number }) => number)
  return [
    readFileSync(join(import.meta.dirname, 'prelude.py'), 'utf8'),
    ...numbered.map(({ number, run }) => `case(${number}, lambda: ${run})`),
    `main({${alone.join(', ')}} if ${alone.length} else set())`,
    '',
  ].join('\n')
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

async function runIn(enter: string[], command: string[]): Promise<string> {
  const [program = '', ...args] = [...enter, ...command]
  const { stdout, stderr } = await promisify(execFile)(program, args, {
    timeout: ATTACK_MS,
    maxBuffer: 1 << 24,
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
  }).catch((error: { stdout?: string; stderr?: string }) => ({
    stdout: error.stdout ?? '',
    stderr: `${error.stderr ?? ''}${String(error)}`,
  }))
  return `${stdout}${stderr}`
}
