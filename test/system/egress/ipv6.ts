// The same once more, when the operator gives sandboxes IPv6.

import type { NetworkPolicy } from '../../../lib/api/network-policy.ts'
import { type Edge, type EdgeOptions, startEdge } from '../../support/edge.ts'
import { ECHO_6, IPV6, OPEN_6, PORT_6 } from './cases/ipv6.ts'
import { HOST_PORT } from './host-ports.ts'
import { type Arrivals, FIRST_PORT, openRecorder, TOKEN_PREFIX } from './internet.ts'
import { runMoments6 } from './moments6.ts'
import type { Outcome } from './outcome.ts'
import { performCases, runIn } from './perform.ts'
import { type AttackSandbox, createProductClient, enterNetwork } from './product.ts'

/** Far from those of the table. */
const FIRST_NUMBER = 1000

const allow = (target: string, more = {}) => ({ action: 'allow' as const, target, ...more })
const POLICY: NetworkPolicy = {
  defaultAction: 'deny',
  egress: [
    ...['good.example', '*.rebind.example', OPEN_6].map((target) => allow(target)),
    allow(ECHO_6, { protocol: 'icmp' }),
    allow(PORT_6, { protocol: 'tcp', ports: ['443'] }),
    // Other sandboxes and a cloud's metadata lie in it, and are not opened by it.
    allow('fd00::/8'),
    { action: 'deny', target: '192.0.2.0/24' },
  ],
}

/** Stops the installation and starts it again with IPv6, so that what it has unpacked is there. */
export async function runIpv6(
  { edge, options }: { edge: Edge; options: EdgeOptions },
  arrivals: () => Promise<Arrivals>,
): Promise<Outcome[]> {
  await edge.stop('SIGTERM')
  await using cleanup = new AsyncDisposableStack()
  const { dataDir } = edge
  const config = `[runtime]\nipv6 = true\n${options.config ?? ''}`
  const again = await startEdge({ ...options, dataDir, config })
  // What is left is removed when the first is disposed of.
  cleanup.defer(async () => void (await again.stop('SIGTERM')))
  const product = createProductClient(again)
  const neighbour = await product.create(POLICY)
  const attacker = await product.create(POLICY)
  const beside = await openRecorder(enterNetwork(neighbour))
  cleanup.defer(() => beside.close())
  const world = {
    product,
    facts: await factsOf(attacker, neighbour),
    async arrivals() {
      const [there, here] = await Promise.all([arrivals(), beside.read()])
      return { ...there, ...here }
    },
  }
  return [
    ...(await performCases({ ...world, attacker, cases: IPV6, first: FIRST_NUMBER })),
    ...(await runMoments6({ ...world, policy: POLICY })),
  ]
}

async function factsOf(attacker: AttackSandbox, neighbour: AttackSandbox): Promise<Record<string, unknown>> {
  const ask = async (sandbox: AttackSandbox, ...args: string[]) =>
    JSON.parse(await runIn(enterNetwork(sandbox), ['ip', '-j', ...args])) as {
      gateway?: string
      addr_info?: { local: string }[]
    }[]
  const own6 = async (sandbox: AttackSandbox) => {
    const [found] = await ask(sandbox, '-6', 'address', 'show', 'dev', sandbox.interface, 'scope', 'global')
    return found?.addr_info?.[0]?.local
  }
  const [route6] = await ask(attacker, '-6', 'route', 'show', 'default')
  const [route] = await ask(attacker, 'route', 'show', 'default')
  const gateway6 = route6?.gateway ?? ''
  return {
    prefix: TOKEN_PREFIX,
    firstPort: FIRST_PORT,
    hostPort: HOST_PORT,
    gateway: route?.gateway,
    gateway6,
    host: '',
    subnet: '',
    neighbour: neighbour.address,
    neighbour6: await own6(neighbour),
    free6: gateway6.replace(/1$/, '9999'),
    own: attacker.address,
    own6: await own6(attacker),
    interface: attacker.interface,
    ownMac: attacker.ownMac,
    hostMac: attacker.hostMac,
  }
}
