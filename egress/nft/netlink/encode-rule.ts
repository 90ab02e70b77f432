// A rule as the kernel takes it: small steps that load something of the packet into a register, compare it, or decide. What is compared
// with more than one value or range becomes a set without a name, which goes with its rule. Pure.

import { FIELD_BYTES, type Field, type Range, type Statement } from './read-script.ts'
import { attribute, bigEndian, nested, number, ownOrder, text } from './wire.ts'

/** For a set without a name. */
export type AnonymousSet = {
  id: number
  keyType: number
  keyBytes: number
  isInOwnOrder: boolean
  elements: readonly { key: Buffer; isEnd: boolean }[]
  hasRanges: boolean
}
export type EncodedRule = { expressions: Buffer; sets: readonly AnonymousSet[] }

/** What stands for a set that has no name yet; the kernel finds it by its number. */
export const NAME_OF_ANONYMOUS = '__set%d'
/** nft's numbers for the types of keys, by which it lists them. */
export const KEY_TYPES = { ipv4_addr: 7, ipv6_addr: 8, inet_proto: 12, inet_service: 13, mark: 19 } as const
/** Both give an element's value. */
export const VERDICT = { drop: 0, accept: 1, goto: -4 } as const

const REGISTER = 1
const REGISTER_TOO = 2
const VERDICT_REGISTER = 0
const EQUAL = 0
const AT_MOST = 3
const AT_LEAST = 5
const META = { mark: 3, nfproto: 15, l4proto: 16 } as const
const CT_MARK = 3
const NETWORK_HEADER = 1
const TRANSPORT_HEADER = 2
const FAMILY_OF_BYTES: Record<number, number> = { 4: 2, 16: 10 }
const DATA_VALUE = 1
const DATA_VERDICT = 2

/** `nextSetId` gives numbers that no other set of the batch has. */
export function encodeRule(statements: readonly Statement[], nextSetId: () => number): EncodedRule {
  const sets: AnonymousSet[] = []
  const expressions = statements.flatMap((statement) => {
    if (statement.kind === 'in set')
      return [...load(statement.field), expression('lookup', number(2, REGISTER), text(1, statement.set))]
    if (statement.kind === 'in ranges') return [...load(statement.field), ...inRanges(statement)]
    return encodeStatement(statement)
  })
  return { expressions: Buffer.concat(expressions), sets }

  function inRanges({ field, ranges }: { field: Field; ranges: readonly Range[] }): Buffer[] {
    const [only, another] = ranges
    const bytes = FIELD_BYTES[field]
    if (only && !another)
      return only.first === only.last
        ? [compare(EQUAL, asCompared(field, only.first))]
        : [compare(AT_LEAST, bigEndian(only.first, bytes)), compare(AT_MOST, bigEndian(only.last, bytes))]
    const set = { ...setOf(field, ranges), id: nextSetId() }
    sets.push(set)
    return [expression('lookup', number(2, REGISTER), text(1, NAME_OF_ANONYMOUS), number(4, set.id))]
  }
}

/** The attributes of what an element or a rule decides. */
export function verdictData(type: number, verdict: keyof typeof VERDICT, chain?: string): Buffer {
  const code = number(1, VERDICT[verdict] >>> 0)
  return nested(type, nested(DATA_VERDICT, code, ...(chain === undefined ? [] : [text(2, chain)])))
}

function encodeStatement(statement: Exclude<Statement, { kind: 'in set' | 'in ranges' }>): Buffer[] {
  switch (statement.kind) {
    case 'verdict':
      return [expression('immediate', number(1, VERDICT_REGISTER), verdictData(2, statement.verdict))]
    case 'goto':
      return [expression('immediate', number(1, VERDICT_REGISTER), verdictData(2, 'goto', statement.chain))]
    case 'set mark': {
      const store =
        statement.of === 'ct'
          ? expression('ct', number(2, CT_MARK), number(4, REGISTER))
          : expression('meta', number(2, META.mark), number(3, REGISTER))
      return [immediate(REGISTER, ownOrder(statement.mark)), store]
    }
    case 'tproxy':
      return [
        // The port has a register of its own: an address of IPv6 takes up the whole of the first.
        immediate(REGISTER, statement.address),
        immediate(REGISTER_TOO, bigEndian(statement.port, 2)),
        expression(
          'tproxy',
          number(1, FAMILY_OF_BYTES[statement.address.length] ?? 0),
          number(2, REGISTER),
          number(3, REGISTER_TOO),
        ),
      ]
  }
}

function load(field: Field): Buffer[] {
  switch (field) {
    case 'ip daddr':
      return [...isFamily(4), payload(NETWORK_HEADER, 16, 4)]
    case 'ip6 daddr':
      return [...isFamily(16), payload(NETWORK_HEADER, 24, 16)]
    case 'dport':
      return [payload(TRANSPORT_HEADER, 2, 2)]
    case 'l4proto':
      return [loadMeta(META.l4proto)]
    case 'ct mark':
      return [expression('ct', number(2, CT_MARK), number(1, REGISTER))]
  }
}

const isFamily = (bytes: number) => [
  loadMeta(META.nfproto),
  compare(EQUAL, bigEndian(FAMILY_OF_BYTES[bytes] ?? 0, 1)),
]
const loadMeta = (key: number) => expression('meta', number(2, key), number(1, REGISTER))
const payload = (base: number, offset: number, bytes: number) =>
  expression('payload', number(1, REGISTER), number(2, base), number(3, offset), number(4, bytes))
const compare = (how: number, value: Buffer) =>
  expression('cmp', number(1, REGISTER), number(2, how), nested(3, attribute(DATA_VALUE, value)))
const immediate = (register: number, value: Buffer) =>
  expression('immediate', number(1, register), nested(2, attribute(DATA_VALUE, value)))
const expression = (name: string, ...attributes: Buffer[]) =>
  nested(1, text(1, name), nested(2, ...attributes))

function setOf(field: Field, ranges: readonly Range[]): Omit<AnonymousSet, 'id'> {
  const bytes = FIELD_BYTES[field]
  const hasRanges = ranges.some(({ first, last }) => first !== last)
  return {
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
