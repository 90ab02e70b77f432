// What netlink messages are made of: a header, then attributes that each have a length, a type and a value, which may be attributes
// again. Headers are in the machine's own order, which is little-endian on all that Node runs on with us; values are big-endian unless
// said otherwise. Pure.

const NESTED = 0x8000
const HEADER_BYTES = 16
/** The family and the version of what follows the header in messages of netfilter. */
const FAMILY_BYTES = 4
/** An attribute tells its length in 16 bits. */
export const MAX_ATTRIBUTE_BYTES = 0xffff
export const ATTRIBUTE_HEAD_BYTES = 4

export const padded = (length: number) => (length + 3) & ~3

export type MessageHeader = {
  type: number
  flags: number
  sequence: number
  family: number
  resource?: number
}

const FIRST_BYTES = 16 << 10
/** More is not kept for the next batch. */
const MAX_KEPT_BYTES = 256 << 10

/** Writes messages of netfilter one behind the other, in one piece of memory: there are thousands of attributes in one batch. */
export class MessageWriter {
  #buffer = Buffer.alloc(FIRST_BYTES)
  #at = 0
  #messageAt = 0

  /** Begins anew. What was written before is written over. */
  clear(): void {
    if (this.#buffer.length > MAX_KEPT_BYTES) this.#buffer = Buffer.alloc(FIRST_BYTES)
    else this.#buffer.fill(0, 0, this.#at)
    this.#at = 0
  }

  /** What has been written; it is not kept for longer than until the next `clear`. */
  get written(): Buffer {
    return this.#buffer.subarray(0, this.#at)
  }

  /** How far the message that is being written goes. */
  get offset(): number {
    return this.#at - this.#messageAt
  }

  /** `resource` is the number of a subsystem, in those that begin and end a batch. */
  message({ type, flags, sequence, family, resource = 0 }: MessageHeader, body: () => void = () => {}): void {
    const at = this.#take(HEADER_BYTES + FAMILY_BYTES)
    this.#messageAt = at
    body()
    this.#buffer.writeUInt32LE(this.#at - at, at)
    this.#buffer.writeUInt16LE(type, at + 4)
    this.#buffer.writeUInt16LE(flags, at + 6)
    this.#buffer.writeUInt32LE(sequence, at + 8)
    this.#buffer.writeUInt8(family, at + HEADER_BYTES)
    this.#buffer.writeUInt16BE(resource, at + HEADER_BYTES + 2)
  }

  nested(type: number, body: () => void): void {
    const at = this.#take(4)
    body()
    this.#head(at, type | NESTED, this.#at - at)
  }

  bytes(type: number, value: Uint8Array): void {
    const at = this.#take(4 + value.length)
    this.#head(at, type, 4 + value.length)
    this.#buffer.set(value, at + 4)
  }

  number(type: number, value: number): void {
    const at = this.#take(8)
    this.#head(at, type, 8)
    this.#buffer.writeUInt32BE(value, at + 4)
  }

  /** With the zero at the end that the kernel wants. */
  text(type: number, value: string): void {
    const size = Buffer.byteLength(value)
    const at = this.#take(4 + size + 1)
    this.#head(at, type, 4 + size + 1)
    this.#buffer.write(value, at + 4)
  }

  #head(at: number, type: number, size: number): void {
    this.#buffer.writeUInt16LE(size, at)
    this.#buffer.writeUInt16LE(type, at + 2)
  }

  /** Where there is now room for so many bytes, all of them zero. */
  #take(size: number): number {
    const at = this.#at
    this.#at += padded(size)
    if (this.#at > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(this.#at, this.#buffer.length * 2))
      larger.set(this.#buffer.subarray(0, at))
      this.#buffer = larger
    }
    return at
  }
}

/** A number as the network has it. */
export function bigEndian(value: number | bigint, bytes: number): Buffer {
  return Buffer.from(
    BigInt(value)
      .toString(16)
      .padStart(bytes * 2, '0'),
    'hex',
  )
}

/** A mark, as the kernel compares it: in the machine's own order. */
export function ownOrder(value: number): Buffer {
  const written = Buffer.alloc(4)
  written.writeUInt32LE(value)
  return written
}

export type Message = { type: number; sequence: number; flags: number; body: Buffer }

/** The messages in what the kernel has sent; what is cut off is left out. */
export function* readMessages(data: Buffer): Generator<Message> {
  for (let at = 0; at + HEADER_BYTES <= data.length; ) {
    const size = data.readUInt32LE(at)
    if (size < HEADER_BYTES || at + size > data.length) return
    yield {
      type: data.readUInt16LE(at + 4),
      flags: data.readUInt16LE(at + 6),
      sequence: data.readUInt32LE(at + 8),
      body: data.subarray(at + HEADER_BYTES, at + size),
    }
    at += padded(size)
  }
}

/** Attributes by their type; of several of one type the last. */
export function readAttributes(data: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>()
  for (let at = 0; at + 4 <= data.length; ) {
    const size = data.readUInt16LE(at)
    if (size < 4 || at + size > data.length) break
    found.set(data.readUInt16LE(at + 2) & ~NESTED, data.subarray(at + 4, at + size))
    at += padded(size)
  }
  return found
}
