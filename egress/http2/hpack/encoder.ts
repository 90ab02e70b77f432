// Writes field blocks (RFC 7541). Texts are sent as they are, not in the Huffman code: what comes again is in the table after its first
// time, and the rest is not worth the time.

import { ENTRY_BYTES, entryBytes, FIRST_LIMIT_BYTES, FieldTable } from './field-table.ts'
import { KNOWN_NAMES, type KnownName, UNKNOWN_NAME } from './known-names.ts'
import {
  ADDED,
  ADDED_MAX,
  INDEXED,
  INDEXED_MAX,
  LENGTH_MAX,
  LITERAL_MAX,
  NEVER_ADDED,
  NOT_ADDED,
  SIZE_UPDATE,
  SIZE_UPDATE_MAX,
} from './representations.ts'
import { LAST_STATIC, STATIC_VALUES } from './static-table.ts'

export type FieldToSend = {
  /** In lower case. Like the value one character for each byte. */
  name: string
  value: string
  /** Never put into the table by which both ends shorten what comes again (RFC 7541 7.1.3), by nobody on the way. */
  isSensitive?: boolean | undefined
}

/** The most that we make of the table, whatever the other side allows. */
const MAX_TABLE_BYTES = FIRST_LIMIT_BYTES
const SLOTS = MAX_TABLE_BYTES / ENTRY_BYTES
/** Entries of one name that are compared with a value: bounded, as it is done for every field. */
const MAX_COMPARED = 8
/** Of a name's entries, when there is none. */
const NONE = -1

/** A number takes at most five bytes here, and a field at most three numbers. */
const MAX_NUMBERS_BYTES = 15
/** Room for a block: what is made at once, and what is kept from one to the next. */
const MIN_ROOM = 512
const MAX_KEPT_ROOM = 4096
const NO_ROOM = Buffer.alloc(0)
/** Up to here a text is written faster byte by byte than by a call into the runtime. */
const SHORT_TEXT = 24

export class HpackEncoder {
  readonly #table = new FieldTable(MAX_TABLE_BYTES)
  /** The number of the newest entry of each name in the table, and, by slot, that of the one before it of the same name. */
  readonly #newest = new Map<string, number>()
  readonly #before: number[] = []
  /** What the other side reckons with before the next block, and the least that it allowed since the last one. */
  #toldBytes = FIRST_LIMIT_BYTES
  #leastBytes = FIRST_LIMIT_BYTES
  #room: Buffer = NO_ROOM
  #at = 0

  /** What the other side allows (SETTINGS_HEADER_TABLE_SIZE); the next block begins with the update that it needs (RFC 7541 4.2, also when
   *  it went down and up again in between). */
  limitTable(bytes: number): void {
    const limit = Math.min(bytes, MAX_TABLE_BYTES)
    while (this.#table.bytes > limit) this.#dropOldest()
    this.#table.limitTo(limit)
    if (limit < this.#leastBytes) this.#leastBytes = limit
  }

  encode(fields: readonly FieldToSend[]): Buffer {
    this.#at = 0
    this.#makeRoom(2 * MAX_NUMBERS_BYTES)
    this.#tellLimit()
    for (let place = 0; place < fields.length; place++) this.#writeField(fields[place]!)
    const block = Buffer.allocUnsafe(this.#at)
    this.#room.copy(block, 0, 0, this.#at)
    if (this.#room.length > MAX_KEPT_ROOM) this.#room = NO_ROOM
    return block
  }

  #tellLimit(): void {
    const limit = this.#table.limitBytes
    if (this.#leastBytes < this.#toldBytes) {
      this.#writeNumber(SIZE_UPDATE, SIZE_UPDATE_MAX, this.#leastBytes)
      this.#toldBytes = this.#leastBytes
    }
    if (limit !== this.#toldBytes) this.#writeNumber(SIZE_UPDATE, SIZE_UPDATE_MAX, limit)
    this.#toldBytes = limit
    this.#leastBytes = limit
  }

  #writeField(field: FieldToSend): void {
    const { name, value } = field
    this.#makeRoom(name.length + value.length + MAX_NUMBERS_BYTES)
    const known = KNOWN_NAMES.get(name) ?? UNKNOWN_NAME
    if (field.isSensitive === true) {
      this.#writeLiteral(NEVER_ADDED, LITERAL_MAX, this.#nameIndex(known, name), name, value)
      return
    }
    const found = this.#findField(known, name, value)
    if (found > 0) {
      this.#writeNumber(INDEXED, INDEXED_MAX, found)
      return
    }
    const index = this.#nameIndex(known, name)
    if (known.isVarying || entryBytes(name, value) * 2 > this.#table.limitBytes) {
      this.#writeLiteral(NOT_ADDED, LITERAL_MAX, index, name, value)
      return
    }
    this.#writeLiteral(ADDED, ADDED_MAX, index, name, value)
    this.#add(name, value)
  }

  /** The index of a field in one of the tables; 0 when it is in neither. */
  #findField(known: KnownName, name: string, value: string): number {
    for (let index = known.first; index <= known.last; index++)
      if (STATIC_VALUES[index] === value) return index
    let number = known.isVarying ? undefined : this.#newest.get(name)
    for (let compared = 0; number !== undefined && compared < MAX_COMPARED; compared++) {
      if (number < this.#table.oldest) return 0
      if (this.#table.valueOf(number) === value) return this.#indexOf(number)
      number = this.#before[number % SLOTS]
    }
    return 0
  }

  /** Of a name in one of the tables; 0 when it is in neither. */
  #nameIndex(known: KnownName, name: string): number {
    if (known.first > 0) return known.first
    const newest = this.#newest.get(name)
    return newest === undefined ? 0 : this.#indexOf(newest)
  }

  /** Of an entry of the table, by its number. */
  #indexOf(number: number): number {
    return LAST_STATIC + this.#table.next - number
  }

  #add(name: string, value: string): void {
    const bytes = entryBytes(name, value)
    while (!this.#table.hasRoom(bytes)) this.#dropOldest()
    const number = this.#table.next
    this.#before[number % SLOTS] = this.#newest.get(name) ?? NONE
    this.#newest.set(name, number)
    this.#table.add(name, value)
  }

  #dropOldest(): void {
    const { oldest } = this.#table
    const name = this.#table.nameOf(oldest)
    if (this.#newest.get(name) === oldest) this.#newest.delete(name)
    this.#table.dropOldest()
  }

  #writeLiteral(bits: number, max: number, index: number, name: string, value: string): void {
    this.#writeNumber(bits, max, index)
    if (index === 0) this.#writeText(name)
    this.#writeText(value)
  }

  #writeText(text: string): void {
    const { length } = text
    this.#writeNumber(0, LENGTH_MAX, length)
    const room = this.#room
    const at = this.#at
    this.#at += length
    if (length > SHORT_TEXT) room.write(text, at, length, 'latin1')
    else for (let place = 0; place < length; place++) room[at + place] = text.charCodeAt(place)
  }

  #writeNumber(bits: number, max: number, number: number): void {
    const room = this.#room
    if (number < max) {
      room[this.#at++] = bits | number
      return
    }
    room[this.#at++] = bits | max
    let rest = number - max
    for (; rest > 0x7f; rest >>>= 7) room[this.#at++] = (rest & 0x7f) | 0x80
    room[this.#at++] = rest
  }

  #makeRoom(bytes: number): void {
    const needed = this.#at + bytes
    if (needed <= this.#room.length) return
    const room = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#room.length, MIN_ROOM))
    this.#room.copy(room, 0, 0, this.#at)
    this.#room = room
  }
}
