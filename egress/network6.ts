// The same of IPv6 as network.ts of IPv4, where the operator wants sandboxes to have it: a private range, its gateway's address beside
// the IPv4 one, and forwarding. Each sandbox has the address in it that its IPv4 one stands for, so nothing more is given out.

import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { address6Of, formatAddress6 } from '../lib/address6.ts'
import type { Logger } from '../lib/log.ts'
import type { RunProgram } from '../lib/run-program.ts'
import { askIp, mustIp } from './ip.ts'
import { formatRange6, parseRange6, type Range6 } from './policy/addresses6.ts'
import { type RouteEntry, type UsedRange, usedRanges } from './used-ranges.ts'

export type Network6Options = {
  /** "auto", or what the operator wants; without it there is none. */
  wanted6?: string
  /** The IPv4 one. */
  gateway: string
  interfacePrefix: string
  stored: string | undefined
  hasSandboxes: boolean
  run: RunProgram
  log: Logger
}

type Used6 = readonly UsedRange<Range6>[]

const SETTINGS = '/proc/sys/net/ipv6/conf'
const TRIES = 16

/** The range to use, or undefined without IPv6. Rejects when the machine has none, or when something is in the way. */
export async function choose6(options: Network6Options): Promise<string | undefined> {
  const { wanted6: wanted, stored, hasSandboxes } = options
  if (wanted === undefined) return undefined
  if (!existsSync(SETTINGS) || readSetting('lo', 'disable_ipv6') === '1')
    throw new Error('runtime.ipv6 is set, but this machine has no IPv6: it is switched off in its kernel')
  const used = await usedRanges6(options)
  return chooseSubnet6({ wanted, stored, used, hasSandboxes, random: () => randomBytes(7) })
}

/** Pure but for what is random. */
export function chooseSubnet6({
  wanted,
  stored,
  used,
  hasSandboxes,
  random,
}: {
  wanted: string
  stored: string | undefined
  used: Used6
  hasSandboxes: boolean
  /** Seven bytes: 40 bits for this machine, as RFC 4193 has it, and 16 for one of its networks. */
  random: () => Uint8Array
}): string {
  const inTheWay = (range: Range6) =>
    used.find((each) => each.range.first <= range.last && range.first <= each.range.last)
  if (wanted !== 'auto') {
    const range = parseRange6(wanted)
    const subnet = `${formatAddress6(range.first)}/${wanted.split('/')[1]}`
    if (parseRange6(`${wanted.split('/')[0]}/128`).first !== range.first)
      throw new Error(`runtime.ipv6 must begin at its first address: write "${subnet}" for "${wanted}"`)
    if (stored && stored !== subnet && hasSandboxes)
      throw new Error(
        `runtime.ipv6 cannot change from "${stored}" to "${wanted}" while there are sandboxes: delete them first`,
      )
    const other = inTheWay(range)
    if (other)
      throw new Error(
        `runtime.ipv6 "${wanted}" overlaps ${formatRange6(other.range)} of ${other.owner}: choose another, or true`,
      )
    return subnet
  }
  if (stored && (hasSandboxes || !inTheWay(parseRange6(stored)))) return stored
  for (let tries = 0; tries < TRIES; tries++) {
    const first = [0xfd, ...random()].reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n) << 64n
    const subnet = `${formatAddress6(first)}/64`
    if (!inTheWay(parseRange6(subnet))) return subnet
  }
  throw new Error(
    'Every private IPv6 range that was tried is in use on this machine: name one as runtime.ipv6',
  )
}

/** Gives the gateway its address and lets the host forward; without IPv6, takes away what an earlier run has made. */
export async function open6(
  { gateway, interfacePrefix: name, stored, run, log }: Network6Options,
  subnet6: string | undefined,
): Promise<string | undefined> {
  if (stored && stored !== subnet6) {
    await close6(run, stored)
    // Not there, or without IPv6 altogether, is as good.
    await run('ip', ['-6', 'address', 'flush', 'dev', name, 'scope', 'global'])
  }
  if (subnet6 === undefined) return undefined
  const gateway6 = address6Of(subnet6, gateway)
  writeSetting(name, 'disable_ipv6', '0')
  await mustIp(run, ['-6', 'address', 'replace', `${gateway6}/128`, 'dev', name, 'nodad'])
  await mustIp(run, ['-6', 'route', 'replace', 'unreachable', subnet6])
  await enableForwarding6(run, log)
  return gateway6
}

/** Removes the route; the gateway's address goes with its interface. */
export async function close6(run: RunProgram, subnet6: string): Promise<void> {
  // Gone already is as good.
  await run('ip', ['-6', 'route', 'delete', 'unreachable', subnet6])
}

export function isSubnet6(value: unknown): value is string {
  const [, address = '', prefix = ''] = typeof value === 'string' ? (/^(.+)\/(\d+)$/.exec(value) ?? []) : []
  return isIPv6(address) && Number(prefix) <= 96
}

function usedRanges6({ run, interfacePrefix, stored }: Network6Options): Promise<Used6> {
  const own = stored === undefined ? undefined : parseRange6(stored)
  return usedRanges({
    run,
    family: '-6',
    interfacePrefix,
    parse: parseRange6,
    isNone(dst, type) {
      if (dst.startsWith('ff')) return true
      const { first, last } = parseRange6(dst)
      // The gateway's own address has a route in the table of local ones, by the loopback interface.
      return (
        own !== undefined &&
        first >= own.first &&
        last <= own.last &&
        (type === 'unreachable' || type === 'local')
      )
    },
  })
}

/**
 * A machine that forwards no longer listens to the routers around it, and forgets the way out that they have told it; but for interfaces
 * where it is told to listen all the same.
 */
async function enableForwarding6(run: RunProgram, log: Logger): Promise<void> {
  if (readSetting('all', 'forwarding') === '1') return
  const routes = await askIp<RouteEntry>(run, ['-6', 'route', 'show', 'default', 'proto', 'ra'])
  for (const { dev } of routes)
    if (dev && readSetting(dev, 'accept_ra') === '1') {
      writeSetting(dev, 'accept_ra', '2')
      log.info('this machine goes on listening to its IPv6 routers', { interface: dev, accept_ra: 2 })
    }
  writeSetting('all', 'forwarding', '1')
  log.info('IPv6 forwarding is now on for this machine: net.ipv6.conf.all.forwarding=1')
}

const readSetting = (name: string, setting: string) =>
  readFileSync(`${SETTINGS}/${name}/${setting}`, 'utf8').trim()
const writeSetting = (name: string, setting: string, value: string) =>
  writeFileSync(`${SETTINGS}/${name}/${setting}`, value)
