// A sandbox's network: a veth pair, made from inside the sandbox's network namespace, so that a namespace that goes takes
// the pair with it. The sandbox has one address, a route to the gateway address, and nothing else.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { RuntimeError } from '../runtime.ts'

export type Link = {
  /** The host's end. */
  interface: string
  address: string
  gateway: string
}

const TIMEOUT_MS = 10_000

/** Joins the network namespace of process `pid` to the host. */
export async function connectSandbox(
  { interface: name, address, gateway }: Link,
  pid: number,
  signal: AbortSignal,
): Promise<void> {
  await runBatch(
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
    ['ip', '-batch', '-'],
    [`link set ${name} up`, `route replace ${address}/32 dev ${name} src ${gateway}`],
    signal,
  )
}

/** Removes the host's end, and with it the sandbox's; fine when there is none. */
export async function disconnectSandbox(name: string, signal: AbortSignal): Promise<void> {
  if (!existsSync(`/sys/class/net/${name}`)) return
  try {
    await runBatch(['ip', '-batch', '-'], [`link del ${name}`], signal)
  } catch (error) {
    // It went with its namespace while we looked.
    if (existsSync(`/sys/class/net/${name}`)) throw error
  }
}

function runBatch([program = '', ...args]: string[], lines: string[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['pipe', 'ignore', 'pipe'],
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
      signal,
    })
    let errors = ''
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      errors = (errors + chunk).slice(-2048)
    })
    const fail = (why: string) =>
      reject(
        signal.aborted
          ? signal.reason
          : new RuntimeError('start_failed', `Cannot set up the sandbox's network: ${why}`),
      )
    child.once('error', (error) => fail(error.message))
    child.stdin.on('error', () => {}) // its exit code says it
    child.once('close', (code) =>
      code === 0 ? resolve() : fail(errors.trim().split('\n')[0] || `${program} ended with ${code}`),
    )
    child.stdin.end(`${lines.join('\n')}\n`)
  })
}
