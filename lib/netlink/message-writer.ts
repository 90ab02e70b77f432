// Writes messages for the kernel (netlink(7)): a header, a fixed part that each kind of them has, then attributes that each have a length,
// a type and a value, which may be attributes again. Headers are in the order of the machine's bytes, which is little-endian on all that
// Node runs on with us. Pure.

/** Of an attribute's type: its value is made of attributes. */
export const NESTED = 0x8000
export const HEADER_BYTES = 16
/** An attribute tells its length in 16 bits. */
export const MAX_ATTRIBUTE_BYTES = 0xffff
export const ATTRIBUTE_HEAD_BYTES = 4

export const padded = (length: number) => (length + 3) & ~3

export type MessageHeader = { type: number; flags: number; sequence: number }

const FIRST_BYTES = 16 << 10
/** More is not kept for the next batch. */
const MAX_KEPT_BYTES = 256 << 10

/** Writes messages one behind the other, in one piece of memory: there may be thousands of attributes. */
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

  /** `fixed` is what stands between the header and the attributes. */
  message({ type, flags, sequence }: MessageHeader, fixed: Uint8Array, body: () => void = () => {}): void {
    const at = this.#take(HEADER_BYTES)
    this.#messageAt = at
    this.fixed(fixed)
    body()
    this.#buffer.writeUInt32LE(this.#at - at, at)
    this.#buffer.writeUInt16LE(type, at + 4)
    this.#buffer.writeUInt16LE(flags, at + 6)
    this.#buffer.writeUInt32LE(sequence, at + 8)
  }

  /** What is no attribute, as it is. */
  fixed(value: Uint8Array): void {
    const at = this.#take(value.length)
    this.#buffer.set(value, at)
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

  /** As the network has numbers. */
  number(type: number, value: number): void {
    const at = this.#take(8)
    this.#head(at, type, 8)
    this.#buffer.writeUInt32BE(value, at + 4)
  }

  /** As the machine has them. */
  ownNumber(type: number, value: number): void {
    const at = this.#take(8)
    this.#head(at, type, 8)
    this.#buffer.writeUInt32LE(value, at + 4)
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
