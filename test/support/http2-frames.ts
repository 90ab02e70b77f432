// Frames of HTTP/2 by hand, as a client of nghttp2 would refuse to send them.

export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** What RST_STREAM, WINDOW_UPDATE and others are made of. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** A number behind the first bits of a representation (RFC 7541 5.1). */
export function packNumber(bits: number, max: number, value: number): Buffer {
  if (value < max) return Buffer.from([bits | value])
  const bytes = [bits | max]
  let rest = value - max
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Buffer.from([...bytes, rest])
}

export const packText = (value: string) =>
  Buffer.concat([packNumber(0, 127, value.length), Buffer.from(value, 'latin1')])

/** Fields as literals without an index (RFC 7541 6.2.2). */
export function pack(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), packText(name), packText(value)]))
}

/** How a client begins. */
export const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  frame(4, 0, 0, Buffer.alloc(0)),
])
