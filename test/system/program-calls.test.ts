// Calls to the system leave the machine as the programs do that they stand for. Needs root, for namespaces and mounts.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { ProgramCalls } from '../../lib/program-calls/program-calls.ts'
import type { RunProgram } from '../../lib/run-program.ts'
import { runProgram } from '../../lib/run-program.ts'

const isRoot = process.getuid?.() === 0
if (!isRoot) console.warn('Skipped: only root may make namespaces and mounts')

const ADDRESS = '10.213.77.2'
const GATEWAY = '10.213.77.1'

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

  test('join a network namespace to the machine alike, and go alike', async () => {
    const byProgram = await joinNamespace(runProgram, 'tstprog0')
    const byCall = await joinNamespace(calls, 'tstcall0')
    expect(byCall.inside).toEqual(byProgram.inside)
    expect(byCall.outside).toEqual(byProgram.outside)
    expect(byCall.inside.routes).toHaveLength(2)
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
  await vi.waitUntil(isOther)
  return child
}

/** Joins a namespace as sandboxes are joined, and tells what both ends then have. */
async function joinNamespace(run: RunProgram, name: string) {
  const target = await startNamespace()
  const inside = [`--net=/proc/${target.pid}/ns/net`, 'ip']
  const lines = [
    `link add eth0 type veth peer name ${name} netns ${process.pid}`,
    `addr add ${ADDRESS}/32 dev eth0`,
    'addr add fd00:77::2/128 dev eth0 nodad',
    'link set eth0 up',
    `route add ${GATEWAY} dev eth0 scope link`,
    `route add default via ${GATEWAY} dev eth0`,
  ]
  const batch = async (program: string, args: string[], input: string[]) =>
    expect(await run(program, args, { input: `${input.join('\n')}\n` })).toMatchObject({ code: 0 })
  await batch('nsenter', [...inside, '-batch', '-'], lines)
  await batch('ip', ['-batch', '-'], [`link set ${name} up`, `route replace ${ADDRESS}/32 dev ${name}`])
  const ask = (args: string[], within: boolean) => {
    const [program, ...rest] = within ? ['nsenter', ...inside] : ['ip']
    return JSON.parse(execFileSync(program ?? '', [...rest, '-j', ...args], { encoding: 'utf8' })) as Record<
      string,
      unknown
    >[]
  }
  const plain = (found: Record<string, unknown>[]) =>
    found.map(({ ifindex, link_index, address, ifname, dev, link_netnsid, addr_info, ...rest }) => ({
      ...rest,
      addresses: ((addr_info ?? []) as Record<string, unknown>[]).filter((each) => each.scope !== 'link'),
    }))
  const made = {
    inside: {
      device: plain(ask(['address', 'show', 'eth0'], true)),
      routes: ask(['route'], true),
    },
    outside: {
      device: plain(ask(['link', 'show', name], false)),
      routes: ask(['-d', 'route', 'show', 'dev', name], false),
    },
  }
  await batch('ip', ['-batch', '-'], [`link del ${name}`])
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
