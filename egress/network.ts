// The sandboxes' network on this host: a range of addresses that nobody else uses, its first address as everyone's gateway and
// name server on an interface of its own, and forwarding. The range is chosen once and kept, because running sandboxes have
// addresses in it.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { formatAddress4, parseAddress4 } from '../lib/api/network-policy.ts'
import { systemCodeOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { RunProgram } from '../lib/run-program.ts'
import { findIp, mustIp } from './ip.ts'
import { choose6, close6, isSubnet6, open6 } from './network6.ts'
import { formatRange, parseRange, type Range } from './policy/addresses.ts'
import { type AddressEntry, type UsedRange, usedRanges } from './used-ranges.ts'

export type Network = { subnet: string; gateway: string; subnet6?: string; gateway6?: string }

export type NetworkOptions = {
  /** "auto", or what the operator wants. */
  wanted: string
  /** The same for IPv6; without it there is none. */
  wanted6?: string
  /** Four hex characters: where the search begins, so that installations rarely want the same. */
  key: string
  /** The gateway's interface; those of the sandboxes begin with this name. */
  interfacePrefix: string
  file: string
  hasSandboxes: boolean
  run: RunProgram
  log: Logger
}

const PRIVATE = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10'].map(parseRange)
const FORWARDING = '/proc/sys/net/ipv4/ip_forward'
/** Where "auto" looks: 10.64.0.0/10, then 172.16.0.0/12, a /16 at a time. */
const FIRST_BLOCK = { start: parseAddress4('10.64.0.0'), count: 64 }
const SECOND_BLOCK = { start: parseAddress4('172.16.0.0'), count: 16 }
const BLOCK_SIZE = 2 ** 16

/** Chooses the range, gives the gateway its address, and lets the host forward. Doing it twice changes nothing. */
export async function openNetwork(options: NetworkOptions): Promise<Network> {
  const { interfacePrefix, run, log, file } = options
  const { subnet: stored, subnet6: stored6 } = readStored(file)
  const used = await usedRanges({
    run,
    family: '-4',
    interfacePrefix,
    parse: parseRange,
    isNone: (dst, type) => dst === '0.0.0.0/0' || (dst === stored && type === 'unreachable'),
  })
  const subnet = chooseSubnet({ ...options, stored, used })
  const gateway = gatewayOf(subnet)
  const options6 = { ...options, gateway, stored: stored6 }
  const subnet6 = await choose6(options6)
  if (stored && stored !== subnet) await removeRoute(run, stored)
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  // A range of IPv6 is kept while it is not used, as sandboxes may still have addresses in it.
  const chosen = { subnet, ...((subnet6 ?? stored6) && { subnet6: subnet6 ?? stored6 }) }
  writeFileSync(`${file}.new`, `${JSON.stringify(chosen)}\n`, { mode: 0o600 })
  renameSync(`${file}.new`, file)
  await putInterface(run, interfacePrefix, gateway)
  // An address of no sandbox is refused at once; by the default route it would leave the machine.
  await mustIp(run, ['route', 'replace', 'unreachable', subnet])
  enableForwarding(log)
  const gateway6 = await open6(options6, subnet6)
  return { subnet, gateway, ...(subnet6 && gateway6 && { subnet6, gateway6 }) }
}

/** Removes what `openNetwork` made on the host, except forwarding, which others may have come to rely on. */
export async function closeNetwork({
  interfacePrefix,
  file,
  run,
}: Pick<NetworkOptions, 'interfacePrefix' | 'file' | 'run'>): Promise<void> {
  const { subnet, subnet6 } = readStored(file)
  if (subnet) await removeRoute(run, subnet)
  if (subnet6) await close6(run, subnet6)
  const { code, stderr } = await run('ip', ['link', 'delete', interfacePrefix])
  if (code !== 0 && !/Cannot find device/.test(stderr))
    throw new Error(`Cannot remove the interface "${interfacePrefix}": ${stderr.trim()}`)
}

/** The range to use, or an error that says what is in the way. Pure. */
export function chooseSubnet({
  wanted,
  key,
  stored,
  used,
  hasSandboxes,
}: {
  wanted: string
  key: string
  stored: string | undefined
  /** Ranges that the host knows of, without those of this installation. */
  used: readonly UsedRange<Range>[]
  hasSandboxes: boolean
}): string {
  const inTheWay = (range: Range) =>
    used.find((each) => each.range.first <= range.last && range.first <= each.range.last)
  if (wanted !== 'auto') {
    const range = parseRange(wanted)
    const masked = `${formatAddress4(range.first)}/${wanted.split('/')[1]}`
    if (masked !== wanted)
      throw new Error(`runtime.subnet must begin at its first address: write "${masked}" for "${wanted}"`)
    if (!PRIVATE.some(({ first, last }) => range.first >= first && range.last <= last))
      throw new Error(
        `runtime.subnet must lie within ${PRIVATE.map(formatRange).join(', ')}, but it is "${wanted}"`,
      )
    if (stored && stored !== wanted && hasSandboxes)
      throw new Error(
        `runtime.subnet cannot change from "${stored}" to "${wanted}" while there are sandboxes: delete them first`,
      )
    const other = inTheWay(range)
    if (other)
      throw new Error(
        `runtime.subnet "${wanted}" overlaps ${formatRange(other.range)} of ${other.owner}: choose another, or "auto"`,
      )
    return wanted
  }
  if (stored && (hasSandboxes || !inTheWay(parseRange(stored)))) return stored
  const begin = Number.parseInt(key, 16)
  for (const { start, count } of [FIRST_BLOCK, SECOND_BLOCK])
    for (let step = 0; step < count; step++) {
      const first = start + ((begin + step) % count) * BLOCK_SIZE
      if (!inTheWay({ first, last: first + BLOCK_SIZE - 1 })) return `${formatAddress4(first)}/16`
    }
  throw new Error(
    'Every /16 of 10.64.0.0/10 and 172.16.0.0/12 is in use on this machine: name a free range as runtime.subnet',
  )
}

/** The first address of a range. */
export function gatewayOf(subnet: string): string {
  return formatAddress4(parseRange(subnet).first + 1)
}

async function putInterface(run: RunProgram, name: string, gateway: string): Promise<void> {
  const there = await findIp<AddressEntry>(run, ['-4', 'address', 'show', 'dev', name])
  if (!there) {
    const dummy = await run('ip', ['link', 'add', name, 'type', 'dummy'])
    // Not every kernel has dummy interfaces; a bridge with no ports holds an address as well.
    if (dummy.code !== 0) await mustIp(run, ['link', 'add', name, 'type', 'bridge'])
  }
  const have = there?.flatMap(({ addr_info = [] }) => addr_info.map(({ local }) => local)) ?? []
  for (const address of have)
    if (address && address !== gateway) await mustIp(run, ['-4', 'address', 'flush', 'dev', name])
  await mustIp(run, ['address', 'replace', `${gateway}/32`, 'dev', name])
  await mustIp(run, ['link', 'set', name, 'up'])
}

async function removeRoute(run: RunProgram, subnet: string): Promise<void> {
  // Gone already is as good.
  await run('ip', ['route', 'delete', 'unreachable', subnet])
}

type Stored = { subnet?: string; subnet6?: string }

function readStored(file: string): Stored {
  try {
    const { subnet, subnet6 } = JSON.parse(readFileSync(file, 'utf8')) as Record<keyof Stored, unknown>
    const isSubnet = typeof subnet === 'string' && /^\d+\.\d+\.\d+\.\d+\/(1[6-9]|2[0-4])$/.test(subnet)
    return { ...(isSubnet && { subnet }), ...(isSubnet6(subnet6) && { subnet6 }) }
  } catch (error) {
    // A file that is missing or damaged means that the range is chosen anew.
    if (systemCodeOf(error) === 'ENOENT' || error instanceof SyntaxError) return {}
    throw error
  }
}

function enableForwarding(log: Logger): void {
  if (readFileSync(FORWARDING, 'utf8').trim() === '1') return
  writeFileSync(FORWARDING, '1')
  log.info('IPv4 forwarding is now on for this machine: net.ipv4.ip_forward=1')
}
