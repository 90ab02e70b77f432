// A rule as the kernel takes it: small steps that load something of the packet into a register, compare it, or decide. What is compared
// with more than one value or range becomes a set without a name, which goes with its rule. Pure but for what is written.

import type { MessageWriter } from '../../../lib/netlink/message-writer.ts'
import { FIELD_BYTES, type Field, type Range, type Statement } from './read-script.ts'
import { bigEndian, ownOrder } from './values.ts'

/** For a set without a name. */
export type AnonymousSet = {
  id: number
  keyType: number
  keyBytes: number
  isInOwnOrder: boolean
  elements: readonly { key: Buffer; isEnd: boolean }[]
  hasRanges: boolean
}

/** What stands for a set that has no name yet; the kernel finds it by its number. */
export const NAME_OF_ANONYMOUS = '__set%d'
/** nft's numbers for the types of keys, by which it lists them. */
export const KEY_TYPES = { ipv4_addr: 7, ipv6_addr: 8, inet_proto: 12, inet_service: 13, mark: 19 } as const

const REGISTER = 1
const REGISTER_TOO = 2
const VERDICT_REGISTER = 0
const VERDICT = { drop: 0, accept: 1, jump: -3, goto: -4 } as const
const EQUAL = 0
const NOT_EQUAL = 1
const AT_MOST = 3
const AT_LEAST = 5
const META = { mark: 3, iiftype: 8, nfproto: 15, l4proto: 16 } as const
/** Of an interface (ARPHRD_ETHER), in the machine's own order. */
const ETHERNET = Buffer.from([1, 0])
const CT_MARK = 3
const LINK_HEADER = 0
const NETWORK_HEADER = 1
const TRANSPORT_HEADER = 2
const FAMILY_OF_BYTES: Record<number, number> = { 4: 2, 16: 10 }
const DATA_VALUE = 1
const DATA_VERDICT = 2

/** The sets that a rule needs before it is written, by the statements that they are for. */
export function setsOf(
  statements: readonly Statement[],
  nextSetId: () => number,
): Map<Statement, AnonymousSet> {
  const sets = new Map<Statement, AnonymousSet>()
  for (const statement of statements)
    if (statement.kind === 'in ranges' && statement.ranges.length > 1)
      sets.set(statement, setOf(statement.field, statement.ranges, nextSetId()))
  return sets
}

/** The steps of a rule. */
export function writeRule(
  to: MessageWriter,
  statements: readonly Statement[],
  sets: ReadonlyMap<Statement, AnonymousSet>,
): void {
  for (const statement of statements) writeStatement(to, statement, sets.get(statement))
}

/** The attribute that says what an element or a rule decides. */
export function writeVerdict(
  to: MessageWriter,
  type: number,
  verdict: keyof typeof VERDICT,
  chain?: string,
): void {
  to.nested(type, () =>
    to.nested(DATA_VERDICT, () => {
      to.number(1, VERDICT[verdict] >>> 0)
      if (chain !== undefined) to.text(2, chain)
    }),
  )
}

function writeStatement(to: MessageWriter, statement: Statement, set: AnonymousSet | undefined): void {
  switch (statement.kind) {
    case 'in set':
      load(to, statement.field)
      lookup(to, statement.set)
      break
    case 'in ranges':
      load(to, statement.field)
      if (set) lookup(to, NAME_OF_ANONYMOUS, set.id)
      else compareAlone(to, statement)
      break
    case 'other ether type':
      loadMeta(to, META.iiftype)
      compare(to, EQUAL, ETHERNET)
      loadPayload(to, { base: LINK_HEADER, offset: 12, bytes: 2 })
      compare(to, NOT_EQUAL, bigEndian(statement.type, 2))
      break
    case 'verdict':
      decide(to, statement.verdict)
      break
    case 'goto':
    case 'jump':
      decide(to, statement.kind, statement.chain)
      break
    case 'mark within':
      load(to, 'ct mark')
      mask(to, ownOrder(statement.mask))
      compare(to, EQUAL, ownOrder(statement.mark))
      break
    case 'set mark':
      immediate(to, REGISTER, ownOrder(statement.mark))
      expression(to, statement.of, () => {
        to.number(2, statement.of === 'ct' ? CT_MARK : META.mark)
        to.number(statement.of === 'ct' ? 4 : 3, REGISTER)
      })
      break
    case 'tproxy':
      immediate(to, REGISTER, statement.address)
      // A register of its own: an address of IPv6 takes up the whole of the first.
      immediate(to, REGISTER_TOO, bigEndian(statement.port, 2))
      expression(to, 'tproxy', () => {
        to.number(1, FAMILY_OF_BYTES[statement.address.length] ?? 0)
        to.number(2, REGISTER)
        to.number(3, REGISTER_TOO)
      })
  }
}

function compareAlone(
  to: MessageWriter,
  { field, ranges }: { field: Field; ranges: readonly Range[] },
): void {
  for (const { first, last } of ranges)
    if (first === last) compare(to, EQUAL, asCompared(field, first))
    else {
      compare(to, AT_LEAST, asCompared(field, first))
      compare(to, AT_MOST, asCompared(field, last))
    }
}

function load(to: MessageWriter, field: Field): void {
  switch (field) {
    case 'ip daddr':
    case 'ip6 daddr': {
      const bytes = FIELD_BYTES[field]
      loadMeta(to, META.nfproto)
      compare(to, EQUAL, bigEndian(FAMILY_OF_BYTES[bytes] ?? 0, 1))
      loadPayload(to, { base: NETWORK_HEADER, offset: bytes === 4 ? 16 : 24, bytes })
      break
    }
    case 'dport':
      loadPayload(to, { base: TRANSPORT_HEADER, offset: 2, bytes: 2 })
      break
    case 'l4proto':
      loadMeta(to, META.l4proto)
      break
    case 'ct mark':
      expression(to, 'ct', () => {
        to.number(2, CT_MARK)
        to.number(1, REGISTER)
      })
  }
}

function loadMeta(to: MessageWriter, key: number): void {
  expression(to, 'meta', () => {
    to.number(2, key)
    to.number(1, REGISTER)
  })
}

function loadPayload(
  to: MessageWriter,
  { base, offset, bytes }: { base: number; offset: number; bytes: number },
): void {
  expression(to, 'payload', () => {
    to.number(1, REGISTER)
    to.number(2, base)
    to.number(3, offset)
    to.number(4, bytes)
  })
}

function lookup(to: MessageWriter, name: string, id?: number): void {
  expression(to, 'lookup', () => {
    to.number(2, REGISTER)
    to.text(1, name)
    if (id !== undefined) to.number(4, id)
  })
}

/** Leaves of the register what the mask has. */
function mask(to: MessageWriter, bits: Buffer): void {
  const value = (type: number, data: Buffer) => to.nested(type, () => to.bytes(DATA_VALUE, data))
  expression(to, 'bitwise', () => {
    to.number(1, REGISTER)
    to.number(2, REGISTER)
    to.number(3, bits.length)
    value(4, bits)
    value(5, Buffer.alloc(bits.length))
  })
}

function compare(to: MessageWriter, how: number, value: Buffer): void {
  expression(to, 'cmp', () => {
    to.number(1, REGISTER)
    to.number(2, how)
    to.nested(3, () => to.bytes(DATA_VALUE, value))
  })
}

function immediate(to: MessageWriter, register: number, value: Buffer): void {
  expression(to, 'immediate', () => {
    to.number(1, register)
    to.nested(2, () => to.bytes(DATA_VALUE, value))
  })
}

function decide(to: MessageWriter, verdict: keyof typeof VERDICT, chain?: string): void {
  expression(to, 'immediate', () => {
    to.number(1, VERDICT_REGISTER)
    writeVerdict(to, 2, verdict, chain)
  })
}

function expression(to: MessageWriter, name: string, attributes: () => void): void {
  to.nested(1, () => {
    to.text(1, name)
    to.nested(2, attributes)
  })
}

function setOf(field: Field, ranges: readonly Range[], id: number): AnonymousSet {
  const bytes = FIELD_BYTES[field]
  const hasRanges = ranges.some(({ first, last }) => first !== last)
  return {
    id,
    keyType: keyTypeOf(field),
    keyBytes: bytes,
    isInOwnOrder: field === 'ct mark' || field === 'l4proto',
    elements: hasRanges
      ? boundsOf(ranges, bytes)
      : ranges.map(({ first }) => ({ key: asCompared(field, first), isEnd: false })),
    hasRanges,
  }
}

/** Where ranges begin, and what comes right after them; the kernel wants to be told of what lies before the first, too. */
function boundsOf(ranges: readonly Range[], bytes: number): AnonymousSet['elements'] {
  const end = 1n << BigInt(bytes * 8)
  const bounds = ranges.flatMap(({ first, last }) => [
    { value: first, isEnd: false },
    { value: last + 1n, isEnd: true },
  ])
  if (bounds[0]?.value !== 0n) bounds.unshift({ value: 0n, isEnd: true })
  return bounds
    .filter(({ value }) => value < end)
    .map(({ value, isEnd }) => ({ key: bigEndian(value, bytes), isEnd }))
}

function asCompared(field: Field, value: bigint): Buffer {
  return field === 'ct mark' ? ownOrder(Number(value)) : bigEndian(value, FIELD_BYTES[field])
}

function keyTypeOf(field: Field): number {
  switch (field) {
    case 'ip daddr':
      return KEY_TYPES.ipv4_addr
    case 'ip6 daddr':
      return KEY_TYPES.ipv6_addr
    case 'dport':
      return KEY_TYPES.inet_service
    case 'l4proto':
      return KEY_TYPES.inet_proto
    case 'ct mark':
      return KEY_TYPES.mark
  }
}
