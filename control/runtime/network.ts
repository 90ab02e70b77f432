// A sandbox's network: a veth pair, made from inside the sandbox's network namespace, so that a namespace that goes takes
// the pair with it. The sandbox has one address, a route to the gateway address, and nothing else; where it has IPv6, one of that, too,
// that the other stands for. Both ends are told of each other's hardware address then, so that nobody need ask for it.

import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { address6Of } from '../../lib/address6.ts'
import { messageOf } from '../../lib/errors.ts'
import type { RunProgram } from '../../lib/run-program.ts'
import { RuntimeError } from './runtime.ts'

export type Link = {
  /** The host's end. */
  interface: string
  address: string
  gateway: string
  ipv6?: Network6
  run: RunProgram
}

/** The range that sandboxes have their IPv6 addresses in, and everyone's gateway. */
export type Network6 = { subnet: string; gateway: string }

const TIMEOUT_MS = 10_000

/** Joins the network namespace of process `pid` to the host. */
export async function connectSandbox(
  { interface: name, address, gateway, ipv6, run }: Link,
  pid: number,
  signal: AbortSignal,
): Promise<void> {
  const six = ipv6 && linesOf6({ name, address, ipv6 })
  const peer = six ? `${name} address ${six.hostMac}` : name
  await runBatch(
    run,
    ['nsenter', `--net=/proc/${pid}/ns/net`, 'ip', '-batch', '-'],
    [
      `link add eth0 ${six ? `address ${six.ownMac} ` : ''}type veth peer name ${peer} netns ${process.pid}`,
      ...(six?.beforeUp ?? []),
      `addr add ${address}/32 dev eth0`,
      'link set eth0 up',
      `route add ${gateway} dev eth0 scope link`,
      `route add default via ${gateway} dev eth0`,
      ...(six?.inside ?? []),
    ],
    signal,
  )
  // Before the interface is up, so that the kernel gives it no IPv6 address of its own.
  const settings = `/proc/sys/net/ipv6/conf/${name}`
  if (six) await writeFile(`${settings}/disable_ipv6`, '0')
  if (six) await writeFile(`${settings}/accept_ra`, '0')
  else if (existsSync(settings)) await writeFile(`${settings}/disable_ipv6`, '1')
  await runBatch(
    run,
    ['ip', '-batch', '-'],
    [
      ...(six ? [`link set ${name} addrgenmode none`] : []),
      `link set ${name} up`,
      `route replace ${address}/32 dev ${name} src ${gateway}`,
      ...(six?.outside ?? []),
    ],
    signal,
  )
}

/** What is said of IPv6, in the sandbox's network and on the host. No address is made by itself, and none is asked for. */
function linesOf6({ name, address, ipv6 }: { name: string; address: string; ipv6: Network6 }) {
  const own = address6Of(ipv6.subnet, address)
  const { gateway } = ipv6
  const mac = (first: string) =>
    [first, '58', ...address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'))].join(':')
  // Of those that are given out locally.
  const [ownMac, hostMac] = [mac('0a'), mac('0e')]
  return {
    ownMac,
    hostMac,
    beforeUp: ['link set eth0 addrgenmode none', `addr add ${own}/128 dev eth0 nodad`],
    inside: [
      `neigh add ${gateway} lladdr ${hostMac} nud permanent dev eth0`,
      `route add ${gateway} dev eth0`,
      `route add default via ${gateway} dev eth0`,
    ],
    outside: [
      `route replace ${own}/128 dev ${name} src ${gateway}`,
      `neigh replace ${own} lladdr ${ownMac} nud permanent dev ${name}`,
    ],
  }
}

/** Removes the host's end, and with it the sandbox's; fine when there is none. */
export async function disconnectSandbox(name: string, run: RunProgram, signal: AbortSignal): Promise<void> {
  if (!existsSync(`/sys/class/net/${name}`)) return
  try {
    await runBatch(run, ['ip', '-batch', '-'], [`link del ${name}`], signal)
  } catch (error) {
    // It went with its namespace while we looked.
    if (existsSync(`/sys/class/net/${name}`)) throw error
  }
}

async function runBatch(
  run: RunProgram,
  [program = '', ...args]: string[],
  lines: string[],
  signal: AbortSignal,
): Promise<void> {
  const fail = (why: string, cause?: unknown) =>
    new RuntimeError('start_failed', `Cannot set up the sandbox's network: ${why}`, { cause })
  const input = `${lines.join('\n')}\n`
  const { code, stderr } = await run(program, args, { input, signal, timeoutMs: TIMEOUT_MS }).catch(
    (error) => {
      signal.throwIfAborted()
      throw fail(messageOf(error), error)
    },
  )
  // The first line says what is wrong, the last one only in which line of the batch.
  if (code !== 0) throw fail(stderr.trim().split('\n')[0] || `${program} ended with ${code}`)
}
