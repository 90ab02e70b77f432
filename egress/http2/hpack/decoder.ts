// Reads field blocks (RFC 7541). They come from anybody: every number is bounded, what is read takes time and room in proportion to its
// own length, and what two readers could understand differently is an error.

import type { Field } from '../../../lib/http1/fields.ts'
import { entryBytes, FieldTable } from './field-table.ts'
import { decodeHuffman, maxTextBytes } from './huffman.ts'
import {
  ADDED,
  ADDED_MAX,
  HUFFMAN,
  INDEXED,
  INDEXED_MAX,
  LENGTH_MAX,
  LITERAL_MAX,
  NEVER_ADDED,
  SIZE_UPDATE,
  SIZE_UPDATE_MAX,
} from './representations.ts'
import { LAST_STATIC, STATIC_NAMES, STATIC_VALUES } from './static-table.ts'

/** `isSensitive`: it came as never to be put into a table, which whoever passes it on has to keep to (RFC 7541 6.2.3). */
export type ReceivedField = Field & { isSensitive?: boolean }

export type DecodedBlock = { fields: ReceivedField[]; isTooLarge: boolean }

export type DecoderOptions = {
  /** As the other side is told by SETTINGS_HEADER_TABLE_SIZE. Until it has read that it may use the 4096 bytes of the beginning, so fewer
   *  than these hold only from its first size update on. */
  maxTableBytes: number
  /** Of one block, each field being its name, its value and 32 (RFC 9113 6.5.2). */
  maxListBytes: number
  maxFields: number
}

const MAX_SIZE_UPDATES = 2
/** What a number may have behind its first byte. */
const MAX_MORE_BYTES = 5
/** Room for text: what is made at once, and what is kept from one block to the next. */
const MIN_ROOM = 512
const MAX_KEPT_ROOM = 4096
const NO_ROOM = Buffer.alloc(0)
/** Instead of a number. */
const WRONG = -1

export class HpackDecoder {
  readonly #maxTableBytes: number
  readonly #maxListBytes: number
  readonly #maxFields: number
  readonly #table: FieldTable
  /** Where the reading of the block is. */
  #at = 0
  #room: Buffer = NO_ROOM

  constructor({ maxTableBytes, maxListBytes, maxFields }: DecoderOptions) {
    this.#maxTableBytes = maxTableBytes
    this.#maxListBytes = maxListBytes
    this.#maxFields = maxFields
    this.#table = new FieldTable(maxTableBytes)
  }

  /** One whole field block (CONTINUATIONs joined). Undefined: a COMPRESSION_ERROR (RFC 9113 4.3), after which no block can be read. Of a
   *  list that is too large the rest is read only for the table. Names and values are one character for each byte. */
  decode(block: Buffer): DecodedBlock | undefined {
    this.#at = 0
    const decoded = this.#readSizeUpdates(block) ? this.#readFields(block) : undefined
    if (this.#room.length > MAX_KEPT_ROOM) this.#room = NO_ROOM
    return decoded
  }

  #readSizeUpdates(block: Buffer): boolean {
    for (let updates = 0; isSizeUpdate(block[this.#at]); updates++) {
      const bytes = this.#readNumber(block, SIZE_UPDATE_MAX)
      if (updates === MAX_SIZE_UPDATES || bytes === WRONG || bytes > this.#maxTableBytes) return false
      this.#table.limitTo(bytes)
    }
    return true
  }

  #readFields(block: Buffer): DecodedBlock | undefined {
    const fields: ReceivedField[] = []
    let isTooLarge = false
    let listBytes = 0
    const table = this.#table
    while (this.#at < block.length) {
      const first = block[this.#at]!
      let name: string | undefined
      let value: string | undefined
      let isSensitive = false
      if (first >= INDEXED) {
        const index = this.#readNumber(block, INDEXED_MAX)
        if (!this.#has(index)) return undefined
        const isStatic = index <= LAST_STATIC
        name = isStatic ? STATIC_NAMES[index]! : table.nameOf(this.#numberOf(index))
        value = isStatic ? STATIC_VALUES[index]! : table.valueOf(this.#numberOf(index))
      } else {
        const isAdded = first >= ADDED
        if (!isAdded && isSizeUpdate(first)) return undefined
        isSensitive = !isAdded && first >= NEVER_ADDED
        const isWanted = isAdded || !isTooLarge
        name = this.#readName(block, isAdded ? ADDED_MAX : LITERAL_MAX, isWanted)
        if (name === undefined) return undefined
        value = this.#readText(block, isWanted)
        if (value === undefined) return undefined
        if (isAdded) table.add(name, value)
      }
      if (isTooLarge) continue
      listBytes += entryBytes(name, value)
      if (listBytes > this.#maxListBytes || fields.length === this.#maxFields) {
        isTooLarge = true
        continue
      }
      const field: ReceivedField = { name, key: name, value }
      if (isSensitive) field.isSensitive = true
      fields.push(field)
    }
    return { fields, isTooLarge }
  }

  #has(index: number): boolean {
    return index > 0 && index <= LAST_STATIC + this.#table.next - this.#table.oldest
  }

  /** In the table, of an index that is behind the static ones: the newest is the first of them. */
  #numberOf(index: number): number {
    return this.#table.next + LAST_STATIC - index
  }

  #readName(block: Buffer, max: number, isWanted: boolean): string | undefined {
    const index = this.#readNumber(block, max)
    if (index === 0) return this.#readText(block, isWanted)
    if (!this.#has(index)) return undefined
    return index <= LAST_STATIC ? STATIC_NAMES[index] : this.#table.nameOf(this.#numberOf(index))
  }

  /** An empty one, if it is right, where it is not wanted. */
  #readText(block: Buffer, isWanted: boolean): string | undefined {
    if (this.#at === block.length) return undefined
    const isHuffman = block[this.#at]! >= HUFFMAN
    const length = this.#readNumber(block, LENGTH_MAX)
    const start = this.#at
    const end = start + length
    if (length === WRONG || end > block.length) return undefined
    this.#at = end
    if (!isHuffman) return isWanted ? block.toString('latin1', start, end) : ''
    const roomBytes = maxTextBytes(length)
    if (this.#room.length < roomBytes) this.#room = makeRoom(roomBytes)
    const textBytes = decodeHuffman(block, start, end, this.#room)
    if (textBytes < 0) return undefined
    return isWanted ? this.#room.toString('latin1', 0, textBytes) : ''
  }

  /** A number whose first byte holds others too, and what fits into `max` of it (RFC 7541 5.1). */
  #readNumber(block: Buffer, max: number): number {
    const first = block[this.#at++]! & max
    return first < max ? first : this.#readMore(block, max)
  }

  #readMore(block: Buffer, max: number): number {
    let number = max
    let factor = 1
    for (let more = 0; more < MAX_MORE_BYTES && this.#at < block.length; more++) {
      const byte = block[this.#at++]!
      number += (byte & 0x7f) * factor
      if (byte < 0x80) return number
      factor *= 0x80
    }
    return WRONG
  }
}

function isSizeUpdate(first: number | undefined): boolean {
  return first !== undefined && first >= SIZE_UPDATE && first < ADDED
}

function makeRoom(bytes: number): Buffer {
  return Buffer.allocUnsafeSlow(Math.max(bytes, MIN_ROOM))
}
