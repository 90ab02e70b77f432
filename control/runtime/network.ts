// A sandbox's network: a veth pair, made from inside the sandbox's network namespace, so that a namespace that goes takes
// the pair with it. The sandbox has one address, a route to the gateway address, and nothing else.

import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { messageOf } from '../../lib/errors.ts'
import type { RunProgram } from '../../lib/run-program.ts'
import { RuntimeError } from './runtime.ts'

export type Link = {
  /** The host's end. */
  interface: string
  address: string
  gateway: string
  run: RunProgram
}

const TIMEOUT_MS = 10_000

/** Joins the network namespace of process `pid` to the host. */
export async function connectSandbox(
  { interface: name, address, gateway, run }: Link,
  pid: number,
  signal: AbortSignal,
): Promise<void> {
  await runBatch(
    run,
    ['nsenter', `--net=/proc/${pid}/ns/net`, 'ip', '-batch', '-'],
    [
      `link add eth0 type veth peer name ${name} netns ${process.pid}`,
      `addr add ${address}/32 dev eth0`,
      'link set eth0 up',
      `route add ${gateway} dev eth0 scope link`,
      `route add default via ${gateway} dev eth0`,
    ],
    signal,
  )
  // Before the interface is up, so that the kernel gives it no IPv6 address of its own.
  const ipv6 = `/proc/sys/net/ipv6/conf/${name}/disable_ipv6`
  if (existsSync(ipv6)) await writeFile(ipv6, '1')
  await runBatch(
    run,
    ['ip', '-batch', '-'],
    [`link set ${name} up`, `route replace ${address}/32 dev ${name} src ${gateway}`],
    signal,
  )
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
