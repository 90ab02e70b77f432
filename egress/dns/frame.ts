// Messages as they go over a stream: the length in two bytes before each (RFC 1035 4.2.2). Pure.

export function frame(message: Buffer): Buffer {
  const framed = Buffer.alloc(2 + message.length)
  framed.writeUInt16BE(message.length)
  message.copy(framed, 2)
  return framed
}

/** The first message of what a stream has brought, when it is whole. */
export function firstFrame(received: Buffer): Buffer | undefined {
  if (received.length < 2) return undefined
  const end = 2 + received.readUInt16BE(0)
  return received.length < end ? undefined : received.subarray(2, end)
}
