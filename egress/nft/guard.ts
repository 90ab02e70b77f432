// A second table that closes what the first one does not open, and that no other program can remove. Whoever empties all firewall rules,
// as many tools do when they start, takes our table with them; this one stays, as the kernel lets only the process that has made it
// change it. It lets nothing pass that the first has not marked: so the sandboxes are closed until that is there again, to the host, to
// each other and to the rest of the world, by IPv4 and IPv6.
//
// The process that owns it does nothing else, and goes on when egress ends or dies; it goes with the last rules.

import { spawn } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { systemCodeOf } from '../../lib/errors.ts'
import { readIfThere } from '../../lib/program.ts'
import { type RunProgram, SYSTEM_PATH } from '../../lib/run-program.ts'
import type { Nft } from './apply.ts'
import type { OwnNft } from './own-name.ts'

/** What packets of registered sandboxes are marked with as they come in. */
export const JUDGED_MARK = 0x0b5b_0000
/** And what those that may pass, in both directions, are marked with where they are judged. */
export const PASSED_MARK = 0x0b5c_0000

export type GuardOptions = {
  nft: Pick<Nft, 'list'>
  run: RunProgram
  ownNft: OwnNft
  /** Where it is remembered which process owns the table. */
  directory: string
  table: string
  interfacePrefix: string
  /** What is led to egress is marked with this instead. */
  relayMark: number
}

const WAIT_MS = 50
const WAITS = 40

/** Makes the table if it is not there. False: this kernel does not let a process own a table. */
export async function openGuard(options: GuardOptions): Promise<boolean> {
  const { nft, run, ownNft, directory } = options
  if (pidOf(options) !== undefined) return true
  const fifo = join(directory, 'guard')
  rmSync(fifo, { force: true })
  const { code, stderr } = await run('mkfifo', ['-m', '600', fifo])
  if (code !== 0) throw new Error(`Cannot make "${fifo}": ${stderr.trim()}`)
  // Open in both directions, so that its input never ends.
  const input = openSync(fifo, 'r+')
  try {
    const child = spawn(ownNft.path, ['-i'], {
      stdio: [input, 'ignore', 'ignore'],
      env: { PATH: SYSTEM_PATH, LC_ALL: 'C', TERM: 'dumb' },
      cwd: '/',
      detached: true,
    })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    child.unref()
    writeFileSync(pidFileOf(directory), String(child.pid), { mode: 0o600 })
    writeSync(input, formatGuard(options))
  } finally {
    closeSync(input)
  }
  for (let waits = 0; waits < WAITS; waits++) {
    if (await nft.list('table', 'inet', guardTable(options))) return true
    await delay(WAIT_MS)
  }
  closeGuard(options)
  return false
}

/** Ends the process, and with it the table; fine when there is none. */
export function closeGuard({ directory, ownNft }: Pick<GuardOptions, 'directory' | 'ownNft'>): void {
  const pid = pidOf({ directory, ownNft })
  try {
    if (pid !== undefined) process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (systemCodeOf(error) !== 'ESRCH') throw error
  }
  rmSync(pidFileOf(directory), { force: true })
  rmSync(join(directory, 'guard'), { force: true })
}

/** The commands for a process that stays, in one line: that is one transaction. */
export function formatGuard(options: Pick<GuardOptions, 'table' | 'interfacePrefix' | 'relayMark'>): string {
  const table = `inet ${guardTable(options)}`
  const own = `"${options.interfacePrefix}*"`
  const chain = (name: string, hook: string, rules: string[]) => [
    `add chain ${table} ${name} { type filter hook ${hook}; }`,
    ...rules.map((rule) => `add rule ${table} ${name} ${rule}`),
  ]
  const commands = [
    `add table ${table} { flags owner; }`,
    ...chain('come_in', 'prerouting priority -299', [`iifname ${own} meta mark != ${JUDGED_MARK} drop`]),
    ...chain('forward', 'forward priority 0', [
      `iifname ${own} meta mark != ${PASSED_MARK} drop`,
      `oifname ${own} meta mark != ${PASSED_MARK} drop`,
      // Nobody else is to take our marks for theirs.
      `iifname ${own} meta mark set 0`,
      `oifname ${own} meta mark set 0`,
    ]),
    ...chain('input', 'input priority 0', [
      `iifname ${own} meta mark != { ${PASSED_MARK}, ${options.relayMark} } drop`,
    ]),
  ]
  return `${commands.join('; ')}\n`
}

const guardTable = ({ table }: Pick<GuardOptions, 'table'>) => `${table}_guard`
const pidFileOf = (directory: string) => join(directory, 'guard.pid')

/** Of the process, when it runs: as it is remembered, or, when what we remember has gone, as it is found. */
function pidOf({ directory, ownNft }: Pick<GuardOptions, 'directory' | 'ownNft'>): number | undefined {
  const isGuard = (pid: string) => {
    try {
      const isOwn = readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === ownNft.name
      return isOwn && readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[1] === '-i'
    } catch (error) {
      if (['ENOENT', 'ESRCH'].includes(systemCodeOf(error) ?? '')) return false
      throw error
    }
  }
  const remembered = readIfThere(pidFileOf(directory))?.trim() ?? ''
  if (/^\d+$/.test(remembered) && isGuard(remembered)) return Number(remembered)
  const found = readdirSync('/proc').find((name) => /^\d+$/.test(name) && isGuard(name))
  if (found === undefined) return undefined
  writeFileSync(pidFileOf(directory), found, { mode: 0o600 })
  return Number(found)
}
