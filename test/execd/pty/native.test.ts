import { spawnSync } from 'node:child_process'
import { closeSync, readlinkSync, readSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { loadTerminals, type TerminalSpec } from '../../../execd/pty/native.ts'
import { until } from '../daemon.ts'

const terminals = loadTerminals()
const env = { PATH: '/usr/bin:/bin' }

function open(spec: Partial<TerminalSpec>) {
  const terminal = terminals.open({
    path: '/bin/sh',
    args: [],
    cwd: '/',
    env,
    user: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
    size: { cols: 80, rows: 24 },
    ...spec,
  })
  onTestFinished(() => closeSync(terminal.fd))
  return terminal
}

function readText(fd: number): string {
  const bytes = Buffer.alloc(1 << 16)
  try {
    return bytes.toString('utf8', 0, readSync(fd, bytes))
  } catch {
    return ''
  }
}

test('our end of a terminal is inherited by no process, neither on another terminal nor on none', async () => {
  const first = open({ args: ['-c', 'read end'] })
  expect(readlinkSync(`/proc/self/fd/${first.fd}`)).toBe('/dev/ptmx')
  const second = open({ args: ['-c', 'ls -l /proc/self/fd'] })
  await second.exited
  const seen = readText(second.fd)
  expect(seen).toContain('/proc/')
  expect(seen).not.toContain('ptmx')
  const { stdout } = spawnSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' })
  expect(stdout).toContain('/proc/')
  expect(stdout).not.toContain('ptmx')
  process.kill(first.pid, 'SIGKILL')
  expect(await first.exited).toEqual({ exitCode: -1, signal: 'SIGKILL' })
})

test('a program runs as its user with just its groups, and ours stay as they are', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('only root can become another user')
  const own = process.getgroups?.()
  const { fd, exited } = open({
    args: ['-c', 'id -u; id -g; id -G'],
    user: { uid: 12345, gid: 23456, groups: [4, 20] },
  })
  await exited
  expect(readText(fd).split('\r\n')).toEqual(['12345', '23456', '23456 4 20', ''])
  expect(process.getgroups?.()).toEqual(own)
  const plain = open({ args: ['-c', 'id -G'], user: { uid: 12345, gid: 23456 } })
  await plain.exited
  expect(readText(plain.fd)).toBe('23456\r\n')
})

test('a terminal has its size, and gets another', async () => {
  const { fd, pid, exited } = open({
    args: ['-c', 'trap "stty size; exit 7" WINCH; stty size; while :; do sleep 0.02; done'],
    size: { cols: 100, rows: 30 },
  })
  let seen = ''
  await until(async () => {
    seen += readText(fd)
    return seen.includes('30 100')
  }, 'the first size')
  terminals.resize(fd, { cols: 120, rows: 40 })
  await until(async () => {
    seen += readText(fd)
    return seen.includes('40 120')
  }, 'the second size')
  expect(await exited).toEqual({ exitCode: 7 })
  expect(pid).toBeGreaterThan(1)
})
