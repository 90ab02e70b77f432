// A network namespace that stands for a whole machine, and behind it one that stands for the internet, so that what is tried in them
// touches nothing of this machine and can be tried several times at once.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { promisify } from 'node:util'
import { GOOD, HOST } from './internet.ts'

const IP_MS = 20_000

export type Machine = {
  /** The namespace of the internet. */
  internet: string
  /** Starts a program of ours on that machine. */
  start(file: string, args: readonly string[], timeoutMs: number): ChildProcess
  close(): Promise<void>
}

/** The machine's interface `out` has the address `HOST`; the internet's is `eth0` and has none yet. */
export async function openMachine(name: string): Promise<Machine> {
  const machine = `${name}-${process.pid}`
  const internet = `${machine}-out`
  const ip = (...args: string[]) => promisify(execFile)('ip', args, { timeout: IP_MS })
  const inside = (...args: string[]) => ip('-n', machine, ...args)
  const close = async () => {
    // One that is not there is as good as removed.
    for (const each of [machine, internet]) await ip('netns', 'delete', each).catch(() => undefined)
  }
  try {
    for (const each of [machine, internet]) await ip('netns', 'add', each)
    const peer = ['peer', 'name', 'eth0', 'netns', internet]
    await ip('link', 'add', 'out', 'netns', machine, 'type', 'veth', ...peer)
    await inside('link', 'set', 'lo', 'up')
    await inside('address', 'add', `${HOST}/24`, 'dev', 'out')
    await inside('-6', 'address', 'add', '2001:db8:a::1/64', 'dev', 'out', 'nodad')
    await inside('link', 'set', 'out', 'up')
    await inside('route', 'add', 'default', 'via', GOOD)
    await inside('-6', 'route', 'add', 'default', 'via', '2001:db8:a::10')
  } catch (error) {
    await close()
    throw error
  }
  return {
    internet,
    close,
    // Not by `ip netns exec`, which would hide the machine's cgroups.
    start: (file, args, timeoutMs) =>
      spawn('nsenter', [`--net=/run/netns/${machine}`, process.execPath, file, ...args], {
        stdio: ['ignore', 'inherit', 'inherit'],
        timeout: timeoutMs,
      }),
  }
}
