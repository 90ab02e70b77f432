// Commands as one transaction of nf_tables: a beginning, messages, an end, handed to the kernel in one piece. And what the kernel says to
// it. Pure.

import { getSystemErrorName } from 'node:util'
import { type AnonymousSet, encodeRule, KEY_TYPES, NAME_OF_ANONYMOUS, verdictData } from './encode-rule.ts'
import type { Command, Element } from './read-script.ts'
import {
  attribute,
  MAX_ATTRIBUTE_BYTES,
  message,
  nested,
  number,
  readAttributes,
  readMessages,
  text,
} from './wire.ts'

export type Batch = {
  bytes: Buffer
  /** Of the last message but the end, which the kernel confirms when all is done. */
  lastSequence: number
  sent: readonly Sent[]
}
/** A message, by what it was made from, with the elements in it and where each begins. */
type Sent = { sequence: number; line: string; elements: readonly { at: number; text: string }[] }

export type Answer = {
  isDone: boolean
  /** The number of the rules that are now in force: every transaction of anybody has one. */
  generation?: number
  /** The first thing that the kernel did not take. */
  refusal?: string
}

const NLMSG_ERROR = 2
const BATCH_BEGIN = 16
const BATCH_END = 17
const NF_TABLES = 10
const NEW_GENERATION = 15
const MESSAGES = {
  'add chain': 3,
  'delete chain': 5,
  'add rule': 6,
  // Without saying which, all rules of the chain go.
  'flush chain': 8,
  'add set': 9,
  'delete set': 11,
  'add element': 12,
  'delete element': 14,
  // Likewise all elements of the set.
  'flush set': 14,
} as const

const REQUEST = 0x01
const ACKNOWLEDGE = 0x04
const ECHO = 0x08
const CREATE = 0x400
const APPEND = 0x800
const HAS_DETAILS = 0x200
const IS_SHORTENED = 0x100

const INET = 1
const UNSPECIFIED = 0
const SET_FLAGS = { anonymous: 1, constant: 2, interval: 4, timeout: 16 } as const
const IS_END = 1
/** What nft itself notes of a set, so that its listings are right: the order of the bytes of keys, and that ranges may be joined. */
const KEY_ORDER_NOTE = 0
const JOINED_NOTE = 2
const OWN_ORDER = 1
const NETWORK_ORDER = 2

/** `first` is the number of the first message; the others follow it. */
export function encodeBatch(commands: readonly Command[], first: number): Batch {
  const parts: Buffer[] = []
  const sent: Sent[] = []
  let sequence = first
  let lastSetId = 0
  const frame = (type: number, flags: number) =>
    message({ type, flags, sequence, family: UNSPECIFIED, resource: NF_TABLES })
  const add = (command: Command, kind: keyof typeof MESSAGES, body: Body, isLast: boolean) => {
    sequence++
    const flags =
      REQUEST |
      (kind.startsWith('add') ? CREATE : 0) |
      (kind === 'add rule' ? APPEND : 0) |
      // By the flags of the first, the kernel tells which generation the transaction has made.
      (sent.length === 0 ? ECHO : 0) |
      (isLast ? ACKNOWLEDGE : 0)
    const type = (NF_TABLES << 8) | MESSAGES[kind]
    const written = message({ type, flags, sequence, family: INET }, ...body.attributes)
    parts.push(written)
    sent.push({ sequence, line: command.line, elements: body.elements?.(written.length) ?? [] })
  }
  parts.push(frame(BATCH_BEGIN, REQUEST))
  for (const [index, command] of commands.entries()) {
    const bodies = bodiesOf(command, () => ++lastSetId)
    for (const [at, { kind, body }] of bodies.entries())
      add(command, kind, body, index === commands.length - 1 && at === bodies.length - 1)
  }
  const lastSequence = sequence
  sequence++
  parts.push(frame(BATCH_END, REQUEST))
  return { bytes: Buffer.concat(parts), lastSequence, sent }
}

/** What the kernel has said to a batch, in all that it has sent since. */
export function readAnswer({ lastSequence, sent }: Batch, received: Buffer): Answer {
  const answer: Answer = { isDone: false }
  for (const { type, sequence, flags, body } of readMessages(received)) {
    if (type === ((NF_TABLES << 8) | NEW_GENERATION)) {
      const generation = readAttributes(body.subarray(4)).get(1)
      if (generation?.length === 4) answer.generation = generation.readUInt32BE()
    }
    if (type !== NLMSG_ERROR || body.length < 20) continue
    const error = body.readInt32LE(0)
    if (error === 0) answer.isDone ||= sequence === lastSequence
    else
      answer.refusal ??= describe(
        sent.find((each) => each.sequence === sequence),
        { error, details: flags & HAS_DETAILS ? detailsOf(body, flags) : undefined },
      )
  }
  return answer.refusal === undefined ? answer : { ...answer, isDone: false }
}

type Details = { said?: string; offset?: number }

function detailsOf(body: Buffer, flags: number): Details {
  // Behind the error stands the message that it is about, whole or only its header.
  const size = flags & IS_SHORTENED ? 16 : body.readUInt32LE(4)
  const attributes = readAttributes(body.subarray(4 + size))
  const said = attributes.get(1)?.toString().replace(/\0$/, '')
  const offset = attributes.get(2)
  return { ...(said && { said }), ...(offset?.length === 4 && { offset: offset.readUInt32LE() }) }
}

function describe(
  sent: Sent | undefined,
  { error, details = {} }: { error: number; details: Details | undefined },
): string {
  const name = error < 0 ? getSystemErrorName(error) : String(error)
  const reason = details.said === undefined ? name : `${name} (${details.said})`
  if (!sent) return reason
  const element = sent.elements.findLast(({ at }) => details.offset !== undefined && details.offset >= at)
  return `${reason} at ${element ? `"${element.text}" of ` : ''}"${shorten(sent.line)}"`
}

const shorten = (line: string) => (line.length > 200 ? `${line.slice(0, 200)}…` : line)

type Body = { attributes: readonly Buffer[]; elements?: (length: number) => Sent['elements'] }
type KindAndBody = { kind: keyof typeof MESSAGES; body: Body }

function bodiesOf(command: Command, nextSetId: () => number): KindAndBody[] {
  const { kind, table, name } = command
  switch (kind) {
    case 'add chain':
    case 'delete chain':
      return [{ kind, body: { attributes: [text(1, table), text(3, name)] } }]
    case 'flush chain':
    case 'flush set':
    case 'delete set':
      return [{ kind, body: { attributes: [text(1, table), text(2, name)] } }]
    case 'add set':
      return [{ kind, body: { attributes: namedSet(command, nextSetId()) } }]
    case 'add element':
    case 'delete element':
      return elementBodies(kind, [text(1, table), text(2, name)], command.elements)
    case 'add rule': {
      const { expressions, sets } = encodeRule(command.statements, nextSetId)
      const rule = [text(1, table), text(2, name), nested(4, expressions)]
      return [...sets.flatMap((set) => anonymousSet(table, set)), { kind, body: { attributes: rule } }]
    }
  }
}

function namedSet({ table, name, type, size }: Extract<Command, { kind: 'add set' }>, id: number): Buffer[] {
  return [
    text(1, table),
    text(2, name),
    number(3, SET_FLAGS.timeout),
    number(4, KEY_TYPES[type]),
    number(5, type === 'ipv4_addr' ? 4 : 16),
    number(10, id),
    nested(9, number(1, size)),
    attribute(13, note(KEY_ORDER_NOTE, NETWORK_ORDER)),
  ]
}

function anonymousSet(table: string, set: AnonymousSet): KindAndBody[] {
  const { anonymous, constant, interval } = SET_FLAGS
  const names = [text(1, table), text(2, NAME_OF_ANONYMOUS)]
  const attributes = [
    ...names,
    number(3, anonymous | constant | (set.hasRanges ? interval : 0)),
    number(4, set.keyType),
    number(5, set.keyBytes),
    number(10, set.id),
    nested(9, number(1, set.elements.length)),
    attribute(
      13,
      Buffer.concat([
        note(KEY_ORDER_NOTE, set.isInOwnOrder ? OWN_ORDER : NETWORK_ORDER),
        ...(set.hasRanges ? [note(JOINED_NOTE, 1)] : []),
      ]),
    ),
  ]
  const elements = set.elements.map(({ key, isEnd }) => ({
    text: '',
    written: nested(1, ...(isEnd ? [number(3, IS_END)] : []), nested(1, attribute(1, key))),
  }))
  return [
    { kind: 'add set', body: { attributes } },
    ...inPieces('add element', [...names, number(4, set.id)], elements),
  ]
}

/** Four bytes in the machine's own order, as nft writes its notes. */
function note(type: number, value: number): Buffer {
  return Buffer.from([type, 4, value, 0, 0, 0])
}

function elementBodies(
  kind: 'add element' | 'delete element',
  names: readonly Buffer[],
  elements: readonly Element[],
): KindAndBody[] {
  const written = elements.map(({ text, key, seconds, goto }) => ({
    text,
    written: nested(
      1,
      ...(seconds === undefined ? [] : [attribute(4, milliseconds(seconds))]),
      nested(1, attribute(1, key)),
      ...(goto === undefined ? [] : [verdictData(2, 'goto', goto)]),
    ),
  }))
  return inPieces(kind, names, written)
}

function milliseconds(seconds: number): Buffer {
  const written = Buffer.alloc(8)
  written.writeBigUInt64BE(BigInt(seconds) * 1000n)
  return written
}

/** As many messages as the lists of elements need that an attribute can hold. */
function inPieces(
  kind: 'add element' | 'delete element',
  names: readonly Buffer[],
  elements: readonly { text: string; written: Buffer }[],
): KindAndBody[] {
  const pieces: (typeof elements)[number][][] = [[]]
  let size = 0
  for (const element of elements) {
    size += element.written.length
    if (size > MAX_ATTRIBUTE_BYTES) {
      pieces.push([])
      size = element.written.length
    }
    pieces.at(-1)?.push(element)
  }
  return pieces.map((piece) => ({
    kind,
    body: {
      attributes: [...names, nested(3, ...piece.map(({ written }) => written))],
      elements: (length) => {
        let at = length - piece.reduce((sum, { written }) => sum + written.length, 0)
        return piece.flatMap(({ text, written }) => {
          const own = { at, text }
          at += written.length
          return text === '' ? [] : [own]
        })
      },
    },
  }))
}
