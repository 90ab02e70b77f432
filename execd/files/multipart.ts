// Reading multipart/form-data (RFC 7578, RFC 2046 5.1) as fast as it arrives: between two boundaries the bytes are handed on as
// they are, in the pieces in which they came. A parser that looks at each byte takes five times as long. What clients get wrong
// and others accept is accepted: lines that end with `\n` alone, values without quotes, quotes within quotes, a text around
// the parts. What nobody can understand is a MultipartError.

const MAX_BOUNDARY = 256
const MAX_HEAD_BYTES = 16 << 10
/** Spaces between a boundary and the end of its line; with more of them it is no boundary. */
const MAX_PADDING = 64
const SPACE = 0x20
const TAB = 0x09
const NEWLINE = 0x0a
const RETURN = 0x0d
const DASH = 0x2d
const EMPTY = Buffer.alloc(0)

export class MultipartError extends Error {}

/** What a part says of itself; `filename` is only there when the part has one, be it empty. */
export type PartHead = { name?: string; filename?: string }

/** Takes what is read, part by part. */
export type PartHandler = {
  begin(head: PartHead): void
  /** A piece of the part that was begun last. */
  data(bytes: Buffer): void
  end(): void
}

/** The boundary in a Content-Type, or undefined when it is not that of a form. */
export function parseBoundary(contentType: string): string | undefined {
  const parameters = /^\s*multipart\/form-data\s*;(.*)$/is.exec(contentType)?.[1] ?? ''
  const found = /(?:^|;)\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/i.exec(parameters)
  const boundary = found?.[1]?.replace(/\\(.)/g, '$1') ?? found?.[2] ?? ''
  return boundary.length > 0 && boundary.length <= MAX_BOUNDARY ? boundary : undefined
}

export class MultipartParser {
  readonly #handler: PartHandler
  readonly #dashes: Buffer
  /** A line break, as the body has them, and the boundary: what ends a part. */
  #delimiter: Buffer
  #state: 'preamble' | 'head' | 'content' | 'epilogue' = 'preamble'
  /** What cannot be understood without what follows. At first a line break, as a boundary needs one before it. */
  #rest = Buffer.of(NEWLINE)
  readonly #lines: string[] = []
  /** The beginning of a line of a head whose end has not come yet. */
  #line: Buffer[] = []
  #headBytes = 0

  constructor(boundary: string, handler: PartHandler) {
    this.#handler = handler
    this.#dashes = Buffer.from(`--${boundary}`, 'latin1')
    this.#delimiter = Buffer.concat([Buffer.of(NEWLINE), this.#dashes])
  }

  /** Takes the next bytes of the body. */
  push(chunk: Buffer): void {
    let bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk
    this.#rest = EMPTY
    while (bytes.length > 0) {
      const taken = this.#take(bytes)
      if (taken === 0) {
        this.#rest = Buffer.from(bytes)
        return
      }
      bytes = bytes.subarray(taken)
    }
  }

  /** Throws unless the body was complete. */
  end(): void {
    if (this.#state === 'preamble') throw new MultipartError('its boundary is not in it')
    if (this.#state !== 'epilogue') throw new MultipartError('it ends before its last boundary')
  }

  /** How many bytes were understood; 0 when more must follow before any are. */
  #take(bytes: Buffer): number {
    if (this.#state === 'epilogue') return bytes.length
    return this.#state === 'head' ? this.#takeHead(bytes) : this.#takeContent(bytes)
  }

  #takeContent(bytes: Buffer): number {
    const at = bytes.indexOf(this.#delimiter)
    if (at < 0) return this.#pass(bytes, bytes.length - this.#begunDelimiter(bytes))
    if (at > 0) return this.#pass(bytes, at)
    const after = this.#delimiter.length
    const end = boundaryEnd(bytes, after)
    if (end === 'more') return 0
    // A line that only begins like the boundary.
    if (end === 'none') return this.#pass(bytes, 1)
    if (this.#state === 'content') this.#handler.end()
    if (end === 'last') {
      this.#state = 'epilogue'
      return after + 2
    }
    if (this.#state === 'preamble' && bytes[end.at - 1] === RETURN)
      this.#delimiter = Buffer.concat([Buffer.of(RETURN, NEWLINE), this.#dashes])
    this.#state = 'head'
    return end.at + 1
  }

  #pass(bytes: Buffer, length: number): number {
    if (this.#state === 'content' && length > 0) this.#handler.data(bytes.subarray(0, length))
    return length
  }

  /** How many of the last bytes may be the beginning of a delimiter. */
  #begunDelimiter(bytes: Buffer): number {
    const first = this.#delimiter[0] ?? NEWLINE
    let at = bytes.indexOf(first, Math.max(0, bytes.length - this.#delimiter.length + 1))
    for (; at >= 0; at = bytes.indexOf(first, at + 1)) {
      const length = bytes.length - at
      if (bytes.compare(this.#delimiter, 0, length, at) === 0) return length
    }
    return 0
  }

  #takeHead(bytes: Buffer): number {
    const end = bytes.indexOf(NEWLINE)
    const taken = end < 0 ? bytes.length : end + 1
    this.#headBytes += taken
    if (this.#headBytes > MAX_HEAD_BYTES)
      throw new MultipartError(`the head of a part is larger than ${MAX_HEAD_BYTES} bytes`)
    this.#line.push(Buffer.from(bytes.subarray(0, taken)))
    if (end < 0) return taken
    const line = Buffer.concat(this.#line)
      .toString('utf8')
      .replace(/\r?\n$/, '')
    this.#line = []
    if (line !== '') {
      // A line that begins with a space goes on where the one before has ended.
      if (/^[ \t]/.test(line) && this.#lines.length > 0)
        this.#lines.push(`${this.#lines.pop()} ${line.trim()}`)
      else this.#lines.push(line)
      return taken
    }
    const head = parsePartHead(this.#lines)
    this.#lines.length = 0
    this.#headBytes = 0
    this.#state = 'content'
    this.#handler.begin(head)
    return taken
  }
}

/** What stands behind a boundary: the mark of the last one, or the end of its line at `at`, or what shows that it is none. */
function boundaryEnd(bytes: Buffer, from: number): 'more' | 'none' | 'last' | { at: number } {
  if (bytes[from] === DASH) {
    if (bytes.length < from + 2) return 'more'
    return bytes[from + 1] === DASH ? 'last' : 'none'
  }
  let at = from
  while (at < from + MAX_PADDING && (bytes[at] === SPACE || bytes[at] === TAB)) at++
  if (bytes[at] === RETURN) at++
  if (at >= bytes.length) return 'more'
  return bytes[at] === NEWLINE ? { at } : 'none'
}

function parsePartHead(lines: string[]): PartHead {
  const head: PartHead = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    if (colon <= 0) throw new MultipartError(`a part has a header without a name: "${line.slice(0, 100)}"`)
    if (line.slice(0, colon).trim().toLowerCase() !== 'content-disposition') continue
    const parameters = line.matchAll(/;\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))/g)
    for (const [, key = '', quoted, plain = ''] of parameters) {
      const value = quoted?.replace(/\\(["\\])/g, '$1') ?? plain.trim()
      // The first of a kind counts: a file may be called like a parameter.
      if (key.toLowerCase() === 'name') head.name ??= value
      else if (/^filename\*?$/i.test(key)) head.filename ??= value
    }
  }
  return head
}
