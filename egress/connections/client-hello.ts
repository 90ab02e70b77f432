// The name that a TLS client asks for: the first message of a handshake, read before anything is sent on (RFC 8446 4.1.2, RFC 6066 3).
// It may come in pieces: of TCP, and of TLS records. Pure, and bounded; what is not plainly a ClientHello is a problem.

/** What the bytes so far are. `more`: not all of it is there yet. */
export type Hello =
  | { is: 'more' }
  | {
      is: 'hello'
      /** How many bytes of the connection it takes, to the end of its last record. */
      length: number
      /** Absent when the client sent none. */
      serverName?: string
      /** The client hides, or pretends to hide, another name (Encrypted Client Hello). */
      hasHiddenName: boolean
      /** What the client offers to speak (RFC 7301). Absent when it says nothing of that. */
      protocols?: string[]
    }
  | { is: 'bad'; problem: string }

const RECORD_HANDSHAKE = 22
const MAX_RECORD_LENGTH = 2 ** 14
const CLIENT_HELLO = 1
/** Larger than any client's, post-quantum key shares included. */
const MAX_HELLO_LENGTH = 2 ** 16
const EXTENSION_SERVER_NAME = 0
const EXTENSION_PROTOCOLS = 16
const EXTENSION_HIDDEN_HELLO = 0xfe0d
const NAME_TYPE_HOST = 0

/** Whether this is how a TLS connection begins. */
export function looksLikeTls(first: number): boolean {
  return first === RECORD_HANDSHAKE
}

/** Reads the first message of a connection. */
export function readClientHello(bytes: Buffer): Hello {
  const joined = joinRecords(bytes)
  if ('is' in joined) return joined
  const { message, end } = joined
  if (message.length > 0 && message[0] !== CLIENT_HELLO) return bad('does not begin with a ClientHello')
  if (message.length < 4) return { is: 'more' }
  const length = message.readUIntBE(1, 3)
  if (length > MAX_HELLO_LENGTH) return bad('has a ClientHello that is too long')
  // The last record must be there to its end, or what comes next would be read from the middle of it.
  if (message.length < 4 + length || bytes.length < end) return { is: 'more' }
  try {
    const hello = readHello(new Reader(message.subarray(4, 4 + length)))
    if ('problem' in hello) return { is: 'bad', ...hello }
    // A message of several in one record would leave the rest of it unread.
    if (message.length !== 4 + length) return bad('has something behind its ClientHello, in the same record')
    return { is: 'hello', length: end, ...hello }
  } catch (error) {
    if (error instanceof Short) return bad('has a ClientHello whose lengths do not agree')
    throw error
  }
}

/** The handshake bytes of the records that are there, the last perhaps in part. */
function joinRecords(bytes: Buffer): { message: Buffer; end: number } | Hello {
  const parts: Buffer[] = []
  let at = 0
  let total = 0
  while (at < bytes.length) {
    if (bytes[at] !== RECORD_HANDSHAKE) return bad('has something else in the middle of its ClientHello')
    if (at + 1 < bytes.length && bytes[at + 1] !== 3) return bad('is of no version of TLS')
    if (at + 5 > bytes.length) break
    const length = bytes.readUInt16BE(at + 3)
    if (length === 0 || length > MAX_RECORD_LENGTH) return bad('has a record of a length that is not allowed')
    const part = bytes.subarray(at + 5, at + 5 + length)
    parts.push(part)
    total += part.length
    at += 5 + length
    // The message is whole; what follows is judged by nobody here.
    const [first] = parts
    if (first && first.length >= 4 && total >= 4 + first.readUIntBE(1, 3)) break
  }
  return { message: parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts), end: at }
}

type Named = Pick<Extract<Hello, { is: 'hello' }>, 'serverName' | 'hasHiddenName' | 'protocols'>

function readHello(reader: Reader): Named | { problem: string } {
  reader.skip(2 + 32) // version, random
  reader.vector(1) // session id
  reader.vector(2) // cipher suites
  reader.vector(1) // compression methods
  if (reader.left === 0) return { hasHiddenName: false }
  const extensions = reader.vector(2)
  if (reader.left > 0) return { problem: 'has bytes after its extensions' }
  let serverName: string | undefined
  let protocols: string[] | undefined
  let hasHiddenName = false
  while (extensions.left > 0) {
    const type = extensions.number(2)
    const data = extensions.vector(2)
    if (type === EXTENSION_HIDDEN_HELLO) hasHiddenName = true
    if (type === EXTENSION_PROTOCOLS) {
      const offered = data.vector(2)
      protocols = []
      while (offered.left > 0) protocols.push(offered.vector(1).text())
    }
    if (type !== EXTENSION_SERVER_NAME) continue
    if (serverName !== undefined) return { problem: 'names its server twice' }
    const names = data.vector(2)
    while (names.left > 0) {
      if (names.number(1) !== NAME_TYPE_HOST)
        return { problem: 'names its server in a form that is not known' }
      if (serverName !== undefined) return { problem: 'names its server twice' }
      serverName = names.vector(2).text()
      if (!/^[\x21-\x7e]+$/.test(serverName))
        return { problem: 'names its server by characters that no name has' }
    }
    if (data.left > 0) return { problem: 'has bytes after the name of its server' }
  }
  return { hasHiddenName, ...(serverName !== undefined && { serverName }), ...(protocols && { protocols }) }
}

class Short extends Error {}

/** Reads numbers and length-prefixed vectors (RFC 8446 3.4). Throws Short where there is less than it says. */
class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  number(size: number): number {
    if (this.left < size) throw new Short()
    const value = this.#bytes.readUIntBE(this.#at, size)
    this.#at += size
    return value
  }

  skip(length: number): void {
    if (this.left < length) throw new Short()
    this.#at += length
  }

  vector(lengthSize: number): Reader {
    const length = this.number(lengthSize)
    if (this.left < length) throw new Short()
    const bytes = this.#bytes.subarray(this.#at, this.#at + length)
    this.#at += length
    return new Reader(bytes)
  }

  text(): string {
    return this.#bytes.toString('latin1', this.#at)
  }
}

function bad(problem: string): Hello {
  return { is: 'bad', problem }
}
