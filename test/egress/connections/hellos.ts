// ClientHellos by hand, right and wrong.

const length16 = (bytes: Buffer) =>
  Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes])

/** A TLS record of the handshake. */
export function record(message: Buffer): Buffer {
  return Buffer.concat([Buffer.from([22, 3, 1]), length16(message)])
}

export function extension(type: number, data: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type >> 8, type & 255]), length16(data)])
}

export function serverName(...names: string[]): Buffer {
  const list = Buffer.concat(
    names.map((name) => Buffer.concat([Buffer.from([0]), length16(Buffer.from(name))])),
  )
  return extension(0, length16(list))
}

/** The message with these extensions. `lie`: its list of extensions says that it is so much longer. */
export function clientHello(extensions: Buffer[], { lie = 0 }: { lie?: number } = {}): Buffer {
  const listed = length16(Buffer.concat(extensions))
  listed.writeUInt16BE(listed.readUInt16BE(0) + lie, 0)
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    Buffer.from([0]), // session id
    Buffer.from([0, 2, 0x13, 0x01]), // cipher suites
    Buffer.from([1, 0]), // compression methods
    listed,
  ])
  return Buffer.concat([Buffer.from([1, 0, body.length >> 8, body.length & 255]), body])
}
