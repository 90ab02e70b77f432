// Commands as one transaction of nf_tables: a beginning, messages, an end, handed to the kernel in one piece. Pure.

import {
  ATTRIBUTE_HEAD_BYTES,
  MAX_ATTRIBUTE_BYTES,
  MessageWriter,
  padded,
} from '../../../lib/netlink/message-writer.ts'
import {
  type AnonymousSet,
  KEY_TYPES,
  NAME_OF_ANONYMOUS,
  setsOf,
  writeRule,
  writeVerdict,
} from './encode-rule.ts'
import type { Command, Element, Family, Ingress } from './read-script.ts'

export type Batch = {
  bytes: Buffer
  /** The number of the message that begins it. */
  first: number
  /** Of the last message but the end, which the kernel confirms when all is done. */
  lastSequence: number
  sent: readonly Sent[]
}
/** A message, by what it was made from, with the elements in it and where each begins. */
export type Sent = { sequence: number; line: string; elements: readonly { at: number; text: string }[] }

const BATCH_BEGIN = 16
const BATCH_END = 17
const NF_TABLES = 10
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
type Kind = keyof typeof MESSAGES
const typeOf = (message: number) => (NF_TABLES << 8) | message
export const NEW_GENERATION = typeOf(15)

const REQUEST = 0x01
const ACKNOWLEDGE = 0x04
const ECHO = 0x08
const CREATE = 0x400
const APPEND = 0x800

/** A family, a version, and in what begins and ends a batch the number of whom it is for. */
const FAMILIES: Record<Family, Uint8Array> = {
  inet: Uint8Array.of(1, 0, 0, 0),
  netdev: Uint8Array.of(5, 0, 0, 0),
}
const FOR_NF_TABLES = Uint8Array.of(0, 0, 0, NF_TABLES)
const SET_FLAGS = { anonymous: 1, constant: 2, interval: 4, timeout: 16 } as const
const IS_END = 1
const INGRESS_HOOK = 0
const POLICY_ACCEPT = 1
/** What nft itself notes of a set, so that its listings are right: the order of the bytes of keys, and that ranges may be joined. */
const KEY_ORDER_NOTE = 0
const JOINED_NOTE = 2
const OWN_ORDER = 1
const NETWORK_ORDER = 2

/** Where elements are in a message. */
type Places = { at: number; text: string }[]
/** What becomes one message. `body` writes its attributes, and notes its elements. */
type Piece = { kind: Kind; line: string; body: (to: MessageWriter, elements: Places) => void }

/** `first` is the number of the first message; the others follow it. The bytes are in the memory of `to`. */
export function encodeBatch(
  commands: readonly Command[],
  first: number,
  to: MessageWriter = new MessageWriter(),
): Batch {
  to.clear()
  const sent: Sent[] = []
  let lastSetId = 0
  const pieces = commands.flatMap((command) =>
    piecesOf(command, () => ++lastSetId).map((piece) => ({ ...piece, family: command.family })),
  )
  const frame = (type: number, sequence: number) =>
    to.message({ type, flags: REQUEST, sequence }, FOR_NF_TABLES)
  frame(BATCH_BEGIN, first)
  for (const [index, { kind, family, line, body }] of pieces.entries()) {
    const sequence = first + 1 + index
    const flags =
      REQUEST |
      (kind.startsWith('add') ? CREATE : 0) |
      (kind === 'add rule' ? APPEND : 0) |
      // By the flags of the first, the kernel tells which generation the transaction has made.
      (index === 0 ? ECHO : 0) |
      (index === pieces.length - 1 ? ACKNOWLEDGE : 0)
    const elements: Places = []
    to.message({ type: typeOf(MESSAGES[kind]), flags, sequence }, FAMILIES[family], () => body(to, elements))
    sent.push({ sequence, line, elements })
  }
  const lastSequence = first + pieces.length
  frame(BATCH_END, lastSequence + 1)
  return { bytes: to.written, first, lastSequence, sent }
}

function piecesOf(command: Command, nextSetId: () => number): Piece[] {
  const { kind, table, name, line } = command
  switch (kind) {
    case 'add chain':
    case 'delete chain': {
      const { ingress } = command
      const body = (to: MessageWriter) => {
        writeNames(to, { table, name, nameType: 3 })
        if (ingress) writeIngress(to, ingress)
      }
      return [{ kind, line, body }]
    }
    case 'flush chain':
    case 'flush set':
    case 'delete set':
      return [{ kind, line, body: (to) => writeNames(to, { table, name }) }]
    case 'add set': {
      const id = nextSetId()
      return [{ kind, line, body: (to) => writeNamedSet(to, command, id) }]
    }
    case 'add element':
    case 'delete element':
      return elementPieces(
        { kind, line, names: (to) => writeNames(to, { table, name }) },
        command.elements.map(elementOf),
      )
    case 'add rule': {
      const sets = setsOf(command.statements, nextSetId)
      const body = (to: MessageWriter) => {
        writeNames(to, { table, name })
        to.nested(4, () => writeRule(to, command.statements, sets))
      }
      return [...[...sets.values()].flatMap((set) => anonymousSet(command, set)), { kind, line, body }]
    }
  }
}

function writeNames(
  to: MessageWriter,
  { table, name, nameType = 2 }: { table: string; name: string; nameType?: number },
): void {
  to.text(1, table)
  to.text(nameType, name)
}

function writeIngress(to: MessageWriter, { device, priority }: Ingress): void {
  to.text(7, 'filter')
  to.number(5, POLICY_ACCEPT)
  to.nested(4, () => {
    to.number(1, INGRESS_HOOK)
    to.number(2, priority >>> 0)
    to.text(3, device)
  })
}

function writeNamedSet(
  to: MessageWriter,
  { table, name, type, size }: Extract<Command, { kind: 'add set' }>,
  id: number,
): void {
  writeNames(to, { table, name })
  to.number(3, SET_FLAGS.timeout)
  to.number(4, KEY_TYPES[type])
  to.number(5, type === 'ipv4_addr' ? 4 : 16)
  to.number(10, id)
  to.nested(9, () => to.number(1, size))
  to.bytes(13, note(KEY_ORDER_NOTE, NETWORK_ORDER))
}

function anonymousSet({ table, line }: Command, set: AnonymousSet): Piece[] {
  const { anonymous, constant, interval } = SET_FLAGS
  const names = (to: MessageWriter) => writeNames(to, { table, name: NAME_OF_ANONYMOUS })
  const body = (to: MessageWriter) => {
    names(to)
    to.number(3, anonymous | constant | (set.hasRanges ? interval : 0))
    to.number(4, set.keyType)
    to.number(5, set.keyBytes)
    to.number(10, set.id)
    to.nested(9, () => to.number(1, set.elements.length))
    const order = note(KEY_ORDER_NOTE, set.isInOwnOrder ? OWN_ORDER : NETWORK_ORDER)
    to.bytes(13, set.hasRanges ? Buffer.concat([order, note(JOINED_NOTE, 1)]) : order)
  }
  const elements = set.elements.map(
    ({ key, isEnd }): Writable => ({
      text: '',
      size: padded(key.length) + ATTRIBUTE_HEAD_BYTES * 3 + (isEnd ? 8 : 0),
      body(to) {
        if (isEnd) to.number(3, IS_END)
        to.nested(1, () => to.bytes(1, key))
      },
    }),
  )
  const named = (to: MessageWriter) => {
    names(to)
    to.number(4, set.id)
  }
  return [
    { kind: 'add set', line, body },
    ...elementPieces({ kind: 'add element', line, names: named }, elements),
  ]
}

/** Four bytes in the machine's own order, as nft writes its notes. */
function note(type: number, value: number): Buffer {
  return Buffer.from([type, 4, value, 0, 0, 0])
}

/** An element and the most that it takes. */
type Writable = { text: string; size: number; body: (to: MessageWriter) => void }

const VERDICT_BYTES = 24

function elementOf({ text, key, seconds, goto }: Element): Writable {
  return {
    text,
    size: padded(key.length) + ATTRIBUTE_HEAD_BYTES * 3 + 12 + VERDICT_BYTES + padded(goto?.length ?? 0),
    body(to) {
      if (seconds !== undefined) to.bytes(4, milliseconds(seconds))
      to.nested(1, () => to.bytes(1, key))
      if (goto !== undefined) writeVerdict(to, 2, 'goto', goto)
    },
  }
}

function milliseconds(seconds: number): Buffer {
  const written = Buffer.alloc(8)
  written.writeBigUInt64BE(BigInt(seconds) * 1000n)
  return written
}

/** As many messages as the lists of elements need that an attribute can hold. */
function elementPieces(
  { kind, line, names }: { kind: Kind; line: string; names: (to: MessageWriter) => void },
  elements: readonly Writable[],
): Piece[] {
  const lists: Writable[][] = [[]]
  let size = ATTRIBUTE_HEAD_BYTES
  for (const element of elements) {
    size += element.size
    if (size > MAX_ATTRIBUTE_BYTES) {
      lists.push([])
      size = ATTRIBUTE_HEAD_BYTES + element.size
    }
    lists.at(-1)?.push(element)
  }
  return lists.map((list) => ({
    kind,
    line,
    body(to, places) {
      names(to)
      to.nested(3, () => {
        for (const { text, body } of list) {
          if (text !== '') places.push({ at: to.offset, text })
          to.nested(1, () => body(to))
        }
      })
    },
  }))
}
