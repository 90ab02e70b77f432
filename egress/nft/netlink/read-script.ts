// Reads the part of nft's language in which what changes often is written: a policy, a sandbox, learned addresses (rules.ts), and where its
// frames come in (frame-rules.ts). Whatever else a script may say is for nft itself. Pure.

import { isIPv4, isIPv6 } from 'node:net'
import ipaddr from 'ipaddr.js'
import { padded } from '../../../lib/netlink/message-writer.ts'

/** `line` is how the script says it. */
export type Command = { family: Family; table: string; line: string } & (
  | { kind: 'add chain' | 'flush chain' | 'delete chain'; name: string; ingress?: Ingress }
  | { kind: 'add set'; name: string; type: AddressType; size: number }
  | { kind: 'flush set' | 'delete set'; name: string }
  | { kind: 'add element' | 'delete element'; name: string; elements: readonly Element[] }
  | { kind: 'add rule'; name: string; statements: readonly Statement[] }
)
export type Family = 'inet' | 'netdev'
/** Of a chain: it sees what comes in by an interface. */
export type Ingress = { device: string; priority: number }
export type AddressType = 'ipv4_addr' | 'ipv6_addr'
/** Its parts, each filled up to four bytes; how long it stays; where its verdict leads. */
export type Element = { text: string; key: Buffer; seconds?: number; goto?: string }

/** What a packet has, and how long that is. */
export const FIELD_BYTES = { 'ip daddr': 4, 'ip6 daddr': 16, l4proto: 1, dport: 2, 'ct mark': 4 } as const
export type Field = keyof typeof FIELD_BYTES
export type Statement =
  | { kind: 'other ether type'; type: number }
  | { kind: 'in set'; field: Field; set: string }
  | { kind: 'in ranges'; field: Field; ranges: readonly Range[] }
  | { kind: 'mark within'; mask: number; mark: number }
  | { kind: 'set mark'; of: 'ct' | 'meta'; mark: number }
  | { kind: 'tproxy'; address: Buffer; port: number }
  | { kind: 'verdict'; verdict: 'accept' | 'drop' }
  | { kind: 'goto' | 'jump'; chain: string }
/** Both ends belong to it. Sorted, and no two touch. */
export type Range = { first: bigint; last: bigint }

const LINE =
  /^(add|flush|delete) (chain|set|element|rule) (inet|netdev) ([\w-]+) ([\w.-]+)(?: (?:\{ ([^{}]*) \}|([^{}].*)))?$/
const NEW_SET = /^type (ipv4_addr|ipv6_addr); flags timeout; size (\d+);$/
const INGRESS =
  /^type filter hook ingress device "([A-Za-z0-9_-]{1,15})" priority (-?\d{1,9}); policy accept;$/
const ETHER_TYPES: Record<string, number> = { ip: 0x0800 }
const ELEMENT = /^(.*?)(?: timeout (\d+)s)?(?: : goto ([\w.-]+))?$/
const INTERFACE_BYTES = 16
const PROTOCOLS: Record<string, bigint> = { icmp: 1n, tcp: 6n, udp: 17n, 'ipv6-icmp': 58n, icmpv6: 58n }

/** The commands of a script, or undefined when any of them is another than those. */
export function readScript(script: string): Command[] | undefined {
  const commands: Command[] = []
  for (const line of script.split('\n')) {
    if (line === '') continue
    const command = readLine(line)
    if (!command) return undefined
    commands.push(command)
  }
  return commands
}

function readLine(line: string): Command | undefined {
  const [, verb, noun, family, table, name, braced, rest] = LINE.exec(line) ?? []
  if (table === undefined || name === undefined) return undefined
  const kind = `${verb} ${noun}`
  if (family === 'netdev') return readNetdev(kind, { family, table, name, line }, { braced, rest })
  const base = { family: 'inet' as const, table, name, line }
  if (kind === 'add rule') {
    const statements = readRule(rest ?? '')
    return statements && { ...base, kind, statements }
  }
  if (rest !== undefined) return undefined
  if (kind === 'add element' || kind === 'delete element') {
    const elements = braced?.split(', ').map(readElement)
    return elements?.every((each) => each !== undefined) ? { ...base, kind, elements } : undefined
  }
  if (kind === 'add set') {
    const [, type, size] = NEW_SET.exec(braced ?? '') ?? []
    return type === 'ipv4_addr' || type === 'ipv6_addr'
      ? { ...base, kind, type, size: Number(size) }
      : undefined
  }
  if (braced !== undefined) return undefined
  if (kind === 'add chain' || kind === 'flush chain' || kind === 'delete chain') return { ...base, kind }
  return kind === 'flush set' || kind === 'delete set' ? { ...base, kind } : undefined
}

/** There, other things are said, and fewer. */
function readNetdev(
  kind: string,
  base: { family: 'netdev'; table: string; name: string; line: string },
  { braced, rest }: { braced: string | undefined; rest: string | undefined },
): Command | undefined {
  if (kind === 'add rule') {
    const [, text = '', chain] = /^ether type != (\w+) goto ([\w.-]+)$/.exec(rest ?? '') ?? []
    const type = ETHER_TYPES[text]
    if (type === undefined || chain === undefined) return undefined
    return {
      ...base,
      kind,
      statements: [
        { kind: 'other ether type', type },
        { kind: 'goto', chain },
      ],
    }
  }
  if (rest !== undefined) return undefined
  if (kind === 'add chain' && braced !== undefined) {
    const [, device, priority] = INGRESS.exec(braced) ?? []
    return device === undefined
      ? undefined
      : { ...base, kind, ingress: { device, priority: Number(priority) } }
  }
  const isPlain = kind === 'add chain' || kind === 'flush chain' || kind === 'delete chain'
  return isPlain && braced === undefined ? { ...base, kind } : undefined
}

function readElement(text: string): Element | undefined {
  const [, parts = '', seconds, goto] = ELEMENT.exec(text) ?? []
  const key = parts.split(' . ').map(readKeyPart)
  if (!key.every((part) => part !== undefined)) return undefined
  return {
    text,
    key: Buffer.concat(key),
    ...(seconds !== undefined && { seconds: Number(seconds) }),
    ...(goto !== undefined && { goto }),
  }
}

function readKeyPart(text: string): Buffer | undefined {
  const [, name] = /^"([^"*]+)"$/.exec(text) ?? []
  if (name === undefined) return readAddress(text)
  const part = Buffer.alloc(padded(INTERFACE_BYTES))
  return Buffer.byteLength(name) < INTERFACE_BYTES
    ? Buffer.concat([Buffer.from(name), part], part.length)
    : undefined
}

function readAddress(text: string): Buffer | undefined {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number))
  return isIPv6(text) ? Buffer.from(ipaddr.IPv6.parse(text).toByteArray()) : undefined
}

function readRule(text: string): Statement[] | undefined {
  const words = text.match(/\{[^{}]*\}|[^\s{}]+/g) ?? []
  const statements: Statement[] = []
  while (words.length > 0) {
    const read = readStatement(words)
    if (!read) return undefined
    statements.push(...read)
  }
  return statements
}

/** Takes the words of one statement away. */
function readStatement(words: string[]): Statement[] | undefined {
  const [first, second, third, fourth] = words
  const match = (
    field: Field,
    what: string | undefined,
    before: Statement[] = [],
  ): Statement[] | undefined => {
    const read = readMatch(field, what)
    return read && [...before, read]
  }
  const taken = <T>(count: number, statements: T): T => {
    words.splice(0, count)
    return statements
  }
  if (first === 'accept' || first === 'drop') return taken(1, [{ kind: 'verdict', verdict: first }])
  if ((first === 'goto' || first === 'jump') && second !== undefined)
    return taken(2, [{ kind: first, chain: second }])
  if ((first === 'ct' || first === 'meta') && second === 'mark' && third === 'set')
    return taken(4, readMark(first, fourth))
  if (first === 'tproxy' && third === 'to') return taken(4, readTproxy(second, fourth))
  switch (`${first} ${second}`) {
    case 'ip daddr':
      return taken(3, match('ip daddr', third))
    case 'ip6 daddr':
      return taken(3, match('ip6 daddr', third))
    case 'meta l4proto':
      return taken(3, match('l4proto', third))
    case 'ct mark':
      if (third === '&') return taken(6, readMarkWithin(words))
      // The kernel compares marks as the machine writes them, so there are no ranges of them.
      return /^\d+$/.test(third ?? '') ? taken(3, match('ct mark', third)) : undefined
    case 'th dport':
      return taken(3, match('dport', third))
    case 'tcp dport':
    case 'udp dport':
      return taken(3, match('dport', third, match('l4proto', first)))
    default:
      return undefined
  }
}

function readMark(of: 'ct' | 'meta', text: string | undefined): Statement[] | undefined {
  const mark = readNumber(text ?? '', FIELD_BYTES['ct mark'])
  return mark === undefined ? undefined : [{ kind: 'set mark', of, mark: Number(mark) }]
}

/** Of `ct mark & MASK == MARK`. */
function readMarkWithin([, , , maskText = '', equals, markText = '']: readonly string[]):
  | Statement[]
  | undefined {
  const mask = readNumber(maskText, FIELD_BYTES['ct mark'])
  const mark = readNumber(markText, FIELD_BYTES['ct mark'])
  if (equals !== '==' || mask === undefined || mark === undefined) return undefined
  return [{ kind: 'mark within', mask: Number(mask), mark: Number(mark) }]
}

function readTproxy(family: string | undefined, to: string | undefined): Statement[] | undefined {
  const [, ip6, ip4, port] = /^(?:\[([^\]]+)\]|([\d.]+)):(\d+)$/.exec(to ?? '') ?? []
  const address = readAddress(ip6 ?? ip4 ?? '')
  const number = readNumber(port ?? '', FIELD_BYTES.dport)
  if (!address || number === undefined || (address.length === 4) !== (family === 'ip')) return undefined
  return [{ kind: 'tproxy', address, port: Number(number) }]
}

function readMatch(field: Field, text: string | undefined): Statement | undefined {
  const [, set] = /^@([\w.-]+)$/.exec(text ?? '') ?? []
  if (set !== undefined) return { kind: 'in set', field, set }
  const [, items] = /^\{ (.*) \}$/.exec(text ?? '') ?? []
  const ranges = (items ?? text ?? '').split(', ').map((item) => readRange(field, item))
  return ranges.every((range) => range !== undefined)
    ? { kind: 'in ranges', field, ranges: merge(ranges) }
    : undefined
}

function readRange(field: Field, text: string): Range | undefined {
  if (field === 'l4proto') return rangeOf(PROTOCOLS[text], PROTOCOLS[text])
  if (field === 'ip daddr' || field === 'ip6 daddr') return readAddressRange(FIELD_BYTES[field], text)
  const [, from = '', to] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? []
  return rangeOf(readNumber(from, FIELD_BYTES[field]), readNumber(to ?? from, FIELD_BYTES[field]))
}

function readAddressRange(bytes: number, text: string): Range | undefined {
  const [, from = '', to, prefix] = /^([^-/]+)(?:-([^-/]+)|\/(\d+))?$/.exec(text) ?? []
  const first = numberOf(readAddress(from), bytes)
  const last = to === undefined ? first : numberOf(readAddress(to), bytes)
  if (prefix === undefined || first === undefined) return rangeOf(first, last)
  if (Number(prefix) > bytes * 8) return undefined
  const size = 1n << BigInt(bytes * 8 - Number(prefix))
  const start = (first / size) * size
  return { first: start, last: start + size - 1n }
}

function numberOf(address: Buffer | undefined, bytes: number): bigint | undefined {
  if (address?.length !== bytes) return undefined
  return bytes === 4 ? BigInt(address.readUInt32BE()) : BigInt(`0x${address.toString('hex')}`)
}

function readNumber(text: string, bytes: number): bigint | undefined {
  const value = /^\d{1,10}$/.test(text) ? BigInt(text) : undefined
  return value !== undefined && value < 1n << BigInt(bytes * 8) ? value : undefined
}

function rangeOf(first: bigint | undefined, last: bigint | undefined): Range | undefined {
  return first === undefined || last === undefined || first > last ? undefined : { first, last }
}

/** As the kernel's sets of ranges must be. */
function merge(ranges: readonly Range[]): Range[] {
  const merged: Range[] = []
  for (const { first, last } of [...ranges].sort((a, b) => (a.first < b.first ? -1 : 1))) {
    const before = merged.at(-1)
    if (!before || first > before.last + 1n) merged.push({ first, last })
    else if (last > before.last) before.last = last
  }
  return merged
}
