// Calls to the system leave the machine as the programs do that they stand for. Needs root, for namespaces and mounts.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { connectSandbox, disconnectSandbox, type Network6 } from '../../control/runtime/network.ts'
import { ProgramCalls } from '../../lib/program-calls/program-calls.ts'
import type { RunProgram } from '../../lib/run-program.ts'
import { runProgram } from '../../lib/run-program.ts'
import { waitUntil } from '../support/wait-for.ts'

const isRoot = process.getuid?.() === 0
if (!isRoot) console.warn('Skipped: only root may make namespaces and mounts')

const ADDRESS = '10.213.77.2'
const GATEWAY = '10.213.77.1'
const IPV6 = { subnet: 'fd00:77::/64', gateway: 'fd00:77::1' }

describe.skipIf(!isRoot)('calls and programs', () => {
  let calls: RunProgram
  beforeAll(() => {
    const found = ProgramCalls.open()
    calls = async (program, args, options = {}) => {
      const answer = await found?.run(program, args, options)
      if (!answer) throw new Error(`There is no call for "${program} ${args.join(' ')}"`)
      return answer
    }
  })

  test.each([
    ['IPv4 alone', undefined],
    ['IPv6, too', IPV6],
  ])('join a network namespace to the machine alike, and go alike, with %s', async (_, ipv6) => {
    addGateways()
    const byProgram = await joinNamespace(runProgram, 'tstprog0', ipv6)
    const byCall = await joinNamespace(calls, 'tstcall0', ipv6)
    expect(byCall.inside).toEqual(byProgram.inside)
    expect(byCall.outside).toEqual(byProgram.outside)
    expect(byCall.inside.routes).toHaveLength(2)
    expect(byCall.outside.neighbours).toHaveLength(ipv6 ? 1 : 0)
  })

  test('say both that something is there already, and in which line', async () => {
    const target = await startNamespace()
    const into = ['nsenter', [`--net=/proc/${target.pid}/ns/net`, 'ip', '-batch', '-']] as const
    const add = `link add eth0 type veth peer name tsttwice netns ${process.pid}\n`
    expect(await calls(...into, { input: add })).toMatchObject({ code: 0 })
    for (const run of [calls, runProgram]) {
      const { code, stderr } = await run(...into, { input: `link set eth0 up\n${add}` })
      expect(code).toBe(1)
      expect(stderr).toMatch(/^RTNETLINK answers: (EEXIST|File exists)\nCommand failed -:2\n$/)
      const missing = await run('ip', ['-batch', '-'], { input: 'route replace 10.9.9.9/32 dev tstnone0\n' })
      expect(missing.stderr).toMatch(/^Cannot find device "tstnone0"/)
    }
  })

  test('the process that calls stays in its own network, also when the other one is gone', async () => {
    const home = readlinkSync('/proc/self/ns/net')
    const target = await startNamespace()
    const answer = await calls('nsenter', [`--net=/proc/${target.pid}/ns/net`, 'ip', '-batch', '-'], {
      input: 'link set eth9 up\n',
    })
    expect(answer).toMatchObject({ code: 1, stderr: expect.stringMatching(/ENODEV/) })
    target.kill('SIGKILL')
    await once(target, 'exit')
    await expect(
      calls('nsenter', [`--net=/proc/${target.pid}/ns/net`, 'ip', '-batch', '-'], {
        input: 'link set eth9 up\n',
      }),
    ).rejects.toThrow('There is no call')
    expect(readlinkSync('/proc/self/ns/net')).toBe(home)
  })

  test('mount and unmount alike', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'calls-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    for (const name of ['low', 'upper', 'work', 'point']) mkdirSync(join(folder, name))
    writeFileSync(join(folder, 'low/file'), 'below')
    const [low, upper, work, point] = ['low', 'upper', 'work', 'point'].map((name) => join(folder, name))
    const layers = `lowerdir=${low},upperdir=${upper},workdir=${work}`
    const memory = 'size=1048576,nr_inodes=64,mode=0700,uid=100000,gid=100000,nosuid,nodev,noexec'
    for (const args of [
      ['-t', 'overlay', 'overlay', '-o', layers, point],
      ['-t', 'tmpfs', 'exchange', '-o', memory, point],
      ['--no-canonicalize', '--bind', low, point],
    ] as string[][]) {
      const seen: (string | undefined)[] = []
      for (const run of [runProgram, calls]) {
        // An overlay marks the layer that it wrote to, and says so the next time.
        for (const layer of ['upper', 'work']) {
          rmSync(join(folder, layer), { recursive: true })
          mkdirSync(join(folder, layer))
        }
        expect(await run('mount', args)).toMatchObject({ code: 0 })
        seen.push(mountedAt(point))
        expect(await run('umount', ['--lazy', '--no-canonicalize', point ?? ''])).toMatchObject({ code: 0 })
        expect(mountedAt(point)).toBeUndefined()
      }
      expect(seen[1]).toBe(seen[0])
      expect(seen[1]).toBeDefined()
    }
  })

  test('a mount that fails is the program’s, which says why', async () => {
    const args = ['--no-canonicalize', '--bind', '/no/such/place', '/no/such/target']
    await expect(calls('mount', args)).rejects.toThrow('There is no call')
    await expect(calls('umount', ['--lazy', '--no-canonicalize', '/no/such'])).rejects.toThrow('no call')
  })
})

async function startNamespace(): Promise<ChildProcess> {
  const child = spawn('unshare', ['--net', 'sleep', '60'], { stdio: 'ignore' })
  onTestFinished(() => void child.kill('SIGKILL'))
  const isOther = () => readlinkSync(`/proc/${child.pid}/ns/net`) !== readlinkSync('/proc/self/ns/net')
  await waitUntil(isOther)
  return child
}

/** A route from the gateway's addresses needs them to be there. */
function addGateways(): void {
  const ip = (...args: string[]) => execFileSync('ip', args)
  ip('link', 'add', 'tstgate0', 'type', 'bridge')
  onTestFinished(() => void ip('link', 'delete', 'tstgate0'))
  ip('address', 'add', `${GATEWAY}/32`, 'dev', 'tstgate0')
  ip('address', 'add', `${IPV6.gateway}/128`, 'dev', 'tstgate0', 'nodad')
  ip('link', 'set', 'tstgate0', 'up')
}

/** Joins a namespace as sandboxes are joined, and tells what both ends then have. */
async function joinNamespace(run: RunProgram, name: string, ipv6: Network6 | undefined) {
  const { pid = 0 } = await startNamespace()
  const signal = AbortSignal.timeout(10_000)
  const link = { interface: name, address: ADDRESS, gateway: GATEWAY, ...(ipv6 && { ipv6 }), run }
  await connectSandbox(link, pid, signal)
  const ask = (args: string[], within: boolean) => {
    const command = [...(within ? ['nsenter', `--net=/proc/${pid}/ns/net`] : []), 'ip', '-j', ...args]
    return JSON.parse(execFileSync('env', command, { encoding: 'utf8' }) || '[]') as Record<string, unknown>[]
  }
  const plain = (found: Record<string, unknown>[]) =>
    found.map(({ ifindex, link_index, address, ifname, dev, link_netnsid, addr_info, ...rest }) => ({
      ...rest,
      // What is made up differs each time.
      ...(ipv6 && { address }),
      addresses: ((addr_info ?? []) as Record<string, unknown>[]).filter((each) => each.scope !== 'link'),
    }))
  const made = {
    inside: {
      device: plain(ask(['-d', 'address', 'show', 'eth0'], true)),
      routes: ask(['-d', 'route'], true),
      routes6: ask(['-d', '-6', 'route', 'show', 'dev', 'eth0'], true),
      neighbours: ask(['neigh', 'show', 'nud', 'permanent', 'dev', 'eth0'], true),
    },
    outside: {
      device: plain(ask(['-d', 'link', 'show', name], false)),
      routes: ask(['-d', 'route', 'show', 'dev', name], false),
      routes6: ask(['-d', '-6', 'route', 'show', 'dev', name], false),
      neighbours: ask(['neigh', 'show', 'nud', 'permanent', 'dev', name], false),
    },
  }
  await disconnectSandbox(name, run, signal)
  expect(existsSync(`/sys/class/net/${name}`)).toBe(false)
  expect(await run('ip', ['-batch', '-'], { input: `link del ${name}\n` })).toMatchObject({ code: 1 })
  return made
}

function mountedAt(point: string | undefined): string | undefined {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((each) => each.split(' ')[4] === point)
  // Without the numbers of this mount and its device.
  return line?.split(' ').slice(3).join(' ')
}
