// What a setting may be: how it is told to a user, and how it is read. Reading takes what TOML, the environment and flags give,
// so a number may come as a text.

import { isIPv4, isIPv6 } from 'node:net'
import { parseName, parseTarget, SET_NAME } from '../api/network-policy.ts'
import { parseDnsUpstream } from '../name-server.ts'
import { parsePublicAddress } from '../public-address.ts'
import { parseBytes } from '../quantity.ts'
import type { Path } from './lines.ts'

export type Check = {
  allowed: string
  /** The value as the programs use it; undefined when it may not be that. What has parts reports what is wrong with each. */
  read: (value: unknown, report: Report) => unknown
  /** Never shown, not even when it is wrong. */
  isSecret?: boolean
}

/** Reports that something within a value is wrong: what, and in whole words why. */
export type Report = (at: Path, problem: string) => void

const MAX_SET_TARGETS = 500

export const text: Check = {
  allowed: 'a text that is not empty',
  read: (v) => (typeof v === 'string' && v !== '' ? v : undefined),
}

export const oneOf = (...values: readonly string[]): Check => ({
  allowed: `one of ${values.map((v) => `"${v}"`).join(', ')}`,
  read: (v) => (typeof v === 'string' && values.includes(v) ? v : undefined),
})

export const integer = (min: number, max: number): Check => ({
  allowed: `an integer from ${min} to ${max}`,
  read: (v) => {
    const n = typeof v === 'bigint' ? Number(v) : typeof v === 'string' && /^\d+$/.test(v) ? Number(v) : v
    return typeof n === 'number' && Number.isInteger(n) && n >= min && n <= max ? n : undefined
  },
})

export const ports: Check = {
  allowed: 'a list of 1 to 16 ports, from 1 to 65535, such as [80, 443]',
  read: (v) => {
    if (!Array.isArray(v) || v.length < 1 || v.length > 16) return undefined
    const read = v.map((item) => integer(1, 65_535).read(item, () => {}))
    return read.every((port) => typeof port === 'number') ? [...new Set(read)] : undefined
  },
}

/** `name=address`: as a map of names in canonical form to addresses. */
export const hostPins: Check = {
  allowed: 'a list of names with an IPv4 address, such as ["api.test=203.0.113.5"]',
  read: (value, report) => {
    if (!Array.isArray(value)) return undefined
    const pins = new Map<string, string>()
    for (const [at, item] of value.entries()) {
      const [text = '', address = '', ...more] = String(item).split('=')
      const parsed = parseName(text)
      if ('problem' in parsed || !isIPv4(address) || more.length > 0)
        report(
          [at],
          `must be a name with an IPv4 address, such as "api.test=203.0.113.5", but it is ${show(item)}`,
        )
      else if (pins.has(parsed.name))
        report([at], `must be a name that has no address yet, but it is ${show(item)}`)
      else pins.set(parsed.name, address)
    }
    return pins
  },
}

export const bytes: Check = {
  allowed: 'an amount such as "64Gi", or a whole number of bytes',
  read: (v) => {
    const n = typeof v === 'bigint' ? Number(v) : typeof v === 'string' ? parseBytes(v) : v
    return typeof n === 'number' && Number.isSafeInteger(n) && n > 0 ? n : undefined
  },
}

export const yesOrNo: Check = {
  allowed: 'true or false',
  read: (v) => (typeof v === 'boolean' ? v : undefined),
}

export const texts: Check = {
  allowed: 'a list of texts',
  read: (v) => (Array.isArray(v) && v.every((item) => typeof item === 'string') ? v : undefined),
}

const REGISTRY = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/i

/** As references of images name them: whatever else stands there would match none, and nobody would be told. */
export const registries: Check = {
  allowed: 'a list of hosts with or without a port, such as ["registry.internal:5000"]',
  read: (value, report) => {
    if (!Array.isArray(value)) return undefined
    for (const [at, item] of value.entries())
      if (typeof item !== 'string' || !REGISTRY.test(item))
        report(
          [at],
          `must be a host with or without a port, such as "registry.internal:5000", but it is ${show(item)}`,
        )
    return value
  },
}

export const nameServers: Check = {
  allowed: 'a list of name servers',
  read: (value, report) => {
    if (!Array.isArray(value)) return undefined
    return value.map((item, at) => {
      const server = typeof item === 'string' ? parseDnsUpstream(item) : undefined
      if (!server)
        report(
          [at],
          `must be an IP address with or without a port, such as "192.0.2.53" or "[2001:db8::1]:53", or a URL such as "tls://192.0.2.53#dns.example" or "https://dns.example/dns-query", but it is ${show(item)}`,
        )
      return server
    })
  },
}

/** As in the rules of a network policy. */
export const policyTargets: Check = {
  allowed: 'a list of names, "*.name", IP addresses and CIDR ranges',
  read: (value, report) => {
    if (!Array.isArray(value)) return undefined
    for (const [at, item] of value.entries()) {
      const target = typeof item === 'string' ? parseTarget(item) : undefined
      if (!target || 'problem' in target)
        report([at], target?.problem ?? `must be a text, but it is ${show(item)}`)
      else if (target.kind === 'set') report([at], `must be a target itself, but it is ${show(item)}`)
    }
    return value
  },
}

/** Lists of such targets by a name. */
export const ruleSets: Check = {
  allowed: 'a table of lists of names, "*.name", IP addresses and CIDR ranges',
  read: (value, report) => {
    if (!isTable(value)) return undefined
    for (const [name, targets] of Object.entries(value)) {
      if (!SET_NAME.test(name)) report([name], 'must have a name of 1 to 63 of a-z, 0-9 and "-"')
      const read = policyTargets.read(targets, ([at = '', ...rest], problem) =>
        report([name, at, ...rest], problem),
      )
      if (read === undefined || (Array.isArray(read) && read.length > MAX_SET_TARGETS))
        report(
          [name],
          `must be ${policyTargets.allowed}, at most ${MAX_SET_TARGETS}, but it is ${show(targets)}`,
        )
    }
    return value
  },
}

export const textTable: Check = {
  allowed: 'a table of texts',
  read: (v) =>
    isTable(v) && Object.values(v).every((item) => typeof item === 'string' && item !== '') ? v : undefined,
}

export const subnet: Check = {
  allowed: '"auto", or a private IPv4 range of /16 to /24 such as "10.88.0.0/16"',
  read: (v) => {
    if (v === 'auto') return v
    const match = typeof v === 'string' ? /^([0-9.]+)\/(1[6-9]|2[0-4])$/.exec(v) : null
    return match && isIPv4(match[1] ?? '') ? v : undefined
  },
}

export const subnet6: Check = {
  allowed: 'true, false, or a private IPv6 range of /48 to /96 in fd00::/8, such as "fd12:3456:789a:1::/64"',
  read: (v) => {
    if (typeof v === 'boolean') return v
    const match = typeof v === 'string' ? /^(fd[0-9a-f:]+)\/(\d\d)$/i.exec(v) : null
    const [, address = '', prefix = ''] = match ?? []
    return isIPv6(address) && Number(prefix) >= 48 && Number(prefix) <= 96 ? v : undefined
  },
}

export const httpUrl: Check = {
  allowed: 'an http or https URL without a user, a password or a fragment',
  read: (v) => {
    const url = typeof v === 'string' && URL.canParse(v) ? new URL(v) : undefined
    const isPlain = url && /^https?:$/.test(url.protocol) && url.username === '' && url.password === ''
    return isPlain && url.hash === '' ? v : undefined
  },
}

export const publicAddress: Check = {
  allowed: 'a host name or an address, with or without a port and a path, such as "edge.example:8443/base"',
  read: (v) => (typeof v === 'string' ? parsePublicAddress(v) : undefined),
}

export const origins: Check = {
  allowed: 'a list of origins, or "*"',
  read: (value, report) => {
    if (value === '*') return [value]
    if (!Array.isArray(value)) return undefined
    return value.map((item, at) => {
      const origin = typeof item === 'string' ? item.toLowerCase() : ''
      if (origin !== '*' && !/^https?:\/\/[^/\s?#@]+$/.test(origin))
        report([at], `must be "*", or an origin such as "https://console.example", but it is ${show(item)}`)
      return origin
    })
  },
}

export const headerName: Check = {
  allowed: 'the name of an HTTP header',
  read: (v) => (typeof v === 'string' && /^[\w!#$%&'*+.^`|~-]{1,100}$/.test(v) ? v : undefined),
}

export const headerValue: Check = {
  allowed: 'one line of visible ASCII characters and spaces',
  read: (v) =>
    typeof v === 'string' && /^[\x21-\x7e]([\x20-\x7e]{0,4094}[\x21-\x7e])?$/.test(v) ? v : undefined,
}

/** A key that travels in a header; an empty one stands for none. */
export const keyOrNothing: Check = {
  allowed: `empty, or ${headerValue.allowed}`,
  read: (v, report) => (v === '' ? v : headerValue.read(v, report)),
}

/** The same check of something that is never shown. */
export const secret = (check: Check): Check => ({ ...check, isSecret: true })

export function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

/** A value that was found, for a message: short, and without the password of a URL. */
export function show(value: unknown): string {
  const shown = typeof value === 'bigint' ? String(value) : JSON.stringify(value, bigintsAsNumbers)
  return (shown ?? String(value)).replace(/\/\/[^/@\s"]*@/g, '//…@').slice(0, 100)
}

function bigintsAsNumbers(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value
}
