// Values as nf_tables compares them. Pure.

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
