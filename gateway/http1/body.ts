// Finding where a body ends while its bytes pass through. A chunked body is checked as strictly as a head: its sizes,
// extensions and line ends are what the next reader will go by. Trailers are held back until they are whole, because some of
// them must not pass. Bytes may be handed on before a fault behind them shows; whoever receives them is then cut off.

import { type Field, parseTrailers } from '../../lib/http1/fields.ts'
import type { Framing } from '../../lib/http1/framing.ts'

export type BodyReader = {
  /** Whether the body's last byte has been read. */
  readonly done: boolean
  /** What is wrong with the body; nothing after it is read. */
  readonly problem: string | undefined
  /** Takes the body's bytes from `chunk` beginning at `at`, hands them on, and returns where they end. */
  read(chunk: Buffer, at: number, pass: (bytes: Buffer) => void): number
}

export type BodyReaderOptions = {
  /** Chunked only: hand on what the chunks hold instead of the chunks, for clients of HTTP/1.0. */
  decode?: boolean
  /** Which trailers pass. */
  keepTrailer?: (field: Field) => boolean
  /** Told of the trailers that pass, which are left out when decoding. */
  onTrailers?: (fields: Field[]) => void
}

const MAX_EXTENSION_BYTES = 256
/** Of all chunks of a body: extensions carry nothing that anybody reads, and cost whoever skips them. */
const MAX_EXTENSIONS_BYTES = 16 * 1024
const MAX_TRAILER_BYTES = 16 * 1024
/** Sizes up to 2^52: what a number can count exactly. */
const MAX_SIZE_DIGITS = 13

const LF = 10
const CR = 13
const SEMICOLON = 59

/** A reader for one body. */
export function createBodyReader(framing: Framing, options: BodyReaderOptions = {}): BodyReader {
  switch (framing.kind) {
    case 'none':
      return new LengthReader(0)
    case 'length':
      return new LengthReader(framing.length)
    case 'chunked':
      return new ChunkedReader(options)
    case 'close':
      return new LengthReader(Number.POSITIVE_INFINITY)
  }
}

class LengthReader implements BodyReader {
  readonly problem = undefined
  #left: number

  constructor(length: number) {
    this.#left = length
  }

  get done(): boolean {
    return this.#left === 0
  }

  read(chunk: Buffer, at: number, pass: (bytes: Buffer) => void): number {
    const end = Math.min(chunk.length, at + this.#left)
    if (end === at) return at
    this.#left -= end - at
    pass(at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end))
    return end
  }
}

type ChunkState = 'size' | 'extension' | 'size-lf' | 'data' | 'data-cr' | 'data-lf' | 'trailer' | 'done'

class ChunkedReader implements BodyReader {
  problem: string | undefined
  readonly #decode: boolean
  readonly #keepTrailer: (field: Field) => boolean
  readonly #onTrailers: ((fields: Field[]) => void) | undefined
  #state: ChunkState = 'size'
  #size = 0
  #digits = 0
  #extension = 0
  #extensions = 0
  #left = 0
  #trailer = ''

  constructor({ decode = false, keepTrailer = () => false, onTrailers }: BodyReaderOptions) {
    this.#decode = decode
    this.#keepTrailer = keepTrailer
    this.#onTrailers = onTrailers
  }

  get done(): boolean {
    return this.#state === 'done'
  }

  read(chunk: Buffer, start: number, pass: (bytes: Buffer) => void): number {
    const decode = this.#decode
    let at = start
    // What passes as it is runs from here; a trailer and, when decoding, everything but data is left out.
    let from = start
    while (at < chunk.length && this.#state !== 'done' && this.problem === undefined) {
      if (this.#state === 'data') {
        const end = Math.min(chunk.length, at + this.#left)
        this.#left -= end - at
        if (decode) pass(chunk.subarray(at, end))
        at = end
        if (this.#left === 0) this.#state = 'data-cr'
        continue
      }
      if (this.#state === 'trailer') {
        if (!decode && at > from) pass(chunk.subarray(from, at))
        at = this.#readTrailer(chunk, at, pass)
        from = at
        continue
      }
      this.#step(chunk[at] ?? 0)
      at++
    }
    if (!decode && at > from && this.problem === undefined) pass(chunk.subarray(from, at))
    return at
  }

  #step(byte: number): void {
    switch (this.#state) {
      case 'size': {
        const digit = hexDigit(byte)
        if (digit >= 0) {
          if (++this.#digits > MAX_SIZE_DIGITS) this.problem = 'a chunk size is too large'
          this.#size = this.#size * 16 + digit
        } else if (this.#digits === 0) this.problem = 'a chunk must begin with its size in hexadecimal digits'
        else if (byte === SEMICOLON) this.#state = 'extension'
        else if (byte === CR) this.#state = 'size-lf'
        else this.problem = 'a chunk size must be followed by CR LF or ";"'
        return
      }
      case 'extension':
        if (byte === CR) this.#state = 'size-lf'
        else if (byte !== 9 && (byte < 32 || byte > 126))
          this.problem = 'a chunk extension holds a character that is not allowed'
        else if (++this.#extension > MAX_EXTENSION_BYTES)
          this.problem = `a chunk extension is longer than ${MAX_EXTENSION_BYTES} bytes`
        else if (++this.#extensions > MAX_EXTENSIONS_BYTES)
          this.problem = `the chunk extensions are longer than ${MAX_EXTENSIONS_BYTES} bytes together`
        return
      case 'size-lf':
        if (byte !== LF) this.problem = 'the line of a chunk size must end with CR LF'
        this.#left = this.#size
        this.#state = this.#size === 0 ? 'trailer' : 'data'
        this.#size = 0
        this.#digits = 0
        this.#extension = 0
        return
      case 'data-cr':
        if (byte !== CR) this.problem = 'a chunk must be followed by CR LF'
        this.#state = 'data-lf'
        return
      case 'data-lf':
        if (byte !== LF) this.problem = 'a chunk must be followed by CR LF'
        this.#state = 'size'
        return
    }
  }

  #readTrailer(chunk: Buffer, start: number, pass: (bytes: Buffer) => void): number {
    let at = start
    while (at < chunk.length) {
      const lineEnd = chunk.indexOf(LF, at)
      const end = lineEnd < 0 ? chunk.length : lineEnd + 1
      this.#trailer += chunk.toString('latin1', at, end)
      at = end
      if (this.#trailer.length > MAX_TRAILER_BYTES) {
        this.problem = `the trailers are larger than ${MAX_TRAILER_BYTES} bytes`
        return at
      }
      if (this.#trailer !== '\r\n' && !this.#trailer.endsWith('\r\n\r\n')) continue
      const fields = parseTrailers(this.#trailer)
      if ('problem' in fields) {
        this.problem = fields.problem
        return at
      }
      this.#state = 'done'
      const kept = fields.filter((field) => this.#keepTrailer(field))
      if (kept.length > 0) this.#onTrailers?.(kept)
      if (this.#decode) return at
      const text = kept.map(({ name, value }) => `${name}: ${value}\r\n`).join('')
      pass(Buffer.from(`${text}\r\n`, 'latin1'))
      return at
    }
    return at
  }
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48
  const lower = byte | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}
