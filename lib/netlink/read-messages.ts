// Reads messages of the kernel (netlink(7)), as message-writer.ts has them. Pure.

import { HEADER_BYTES, NESTED, padded } from './message-writer.ts'

/** `body` is what stands behind the header. */
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
