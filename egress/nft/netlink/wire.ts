// What netlink messages are made of: a header, then attributes that each have a length, a type and a value, which may be attributes
// again. Headers are in the machine's own order, which is little-endian on all that Node runs on with us; values are big-endian unless
// said otherwise. Pure.

const NESTED = 0x8000
const HEADER_BYTES = 16
/** The family and the version of what follows the header in messages of netfilter. */
const FAMILY_BYTES = 4
/** An attribute tells its length in 16 bits. */
export const MAX_ATTRIBUTE_BYTES = 0xffff - 4

export const padded = (length: number) => (length + 3) & ~3

export type MessageHeader = {
  type: number
  flags: number
  sequence: number
  family: number
  resource?: number
}

/** A message of netfilter. `resource` is the number of a subsystem, in those that begin and end a batch. */
export function message(header: MessageHeader, ...attributes: readonly Buffer[]): Buffer {
  const { type, flags, sequence, family, resource = 0 } = header
  const size = attributes.reduce((sum, { length }) => sum + length, HEADER_BYTES + FAMILY_BYTES)
  const head = Buffer.alloc(HEADER_BYTES + FAMILY_BYTES)
  head.writeUInt32LE(size, 0)
  head.writeUInt16LE(type, 4)
  head.writeUInt16LE(flags, 6)
  head.writeUInt32LE(sequence, 8)
  head.writeUInt8(family, HEADER_BYTES)
  head.writeUInt16BE(resource, HEADER_BYTES + 2)
  return Buffer.concat([head, ...attributes], size)
}

export function attribute(type: number, value: Uint8Array): Buffer {
  const written = Buffer.alloc(padded(4 + value.length))
  written.writeUInt16LE(4 + value.length, 0)
  written.writeUInt16LE(type, 2)
  written.set(value, 4)
  return written
}

export function nested(type: number, ...attributes: readonly Uint8Array[]): Buffer {
  return attribute(type | NESTED, Buffer.concat(attributes))
}

/** With the zero at the end that the kernel wants. */
export const text = (type: number, value: string) => attribute(type, Buffer.from(`${value}\0`))
export const number = (type: number, value: number) => attribute(type, bigEndian(value, 4))

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
