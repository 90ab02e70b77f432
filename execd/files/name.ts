// Names of files are bytes; here they are texts. A byte that is not UTF-8 stands as a lone surrogate, U+DC00 plus the byte, so
// that every name can be walked, matched and opened again. Texts of this form never leave execd: clients are shown the
// replacement character, and the bytes beside it (info.ts).

const LONE_SURROGATE = /[\ud800-\udfff]/u

/** The text that stands for a name of these bytes. */
export function decodeName(bytes: Buffer): string {
  const text = bytes.toString('utf8')
  if (!text.includes('\ufffd')) return text
  let name = ''
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at)
    name +=
      length === 0 ? String.fromCharCode(0xdc00 + (bytes[at] ?? 0)) : bytes.toString('utf8', at, at + length)
    at += length || 1
  }
  return name
}

/** The bytes that a name or path stands for. */
export function encodeName(name: string): Buffer {
  if (name.isWellFormed()) return Buffer.from(name)
  return Buffer.concat(
    Array.from(name, (char) =>
      isEscapedByte(char) ? Buffer.from([char.charCodeAt(0) - 0xdc00]) : Buffer.from(char),
    ),
  )
}

/** A path as the file system takes it. */
export function nativePath(path: string): string | Buffer {
  return path.isWellFormed() ? path : encodeName(path)
}

/** Whether a name has lone surrogates that stand for no byte: no file can be called so. */
export function hasForeignSurrogate(name: string): boolean {
  return (
    !name.isWellFormed() && Array.from(name).some((char) => LONE_SURROGATE.test(char) && !isEscapedByte(char))
  )
}

/** Whether the order of this name among others is not that of its UTF-16 units, but only that of its bytes. */
export function needsBytes(name: string): boolean {
  return /[\ud800-\uffff]/.test(name)
}

function isEscapedByte(char: string): boolean {
  return char.length === 1 && char >= '\udc80' && char <= '\udcff'
}

/** How many bytes the UTF-8 sequence at `at` has; 0 when there is none (Unicode 3.9, table 3-7). */
function sequenceLength(bytes: Buffer, at: number): number {
  const first = bytes[at] ?? 0
  if (first < 0x80) return 1
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2
  const sequence = bytes.subarray(at, at + length)
  // What is not a sequence is decoded to the replacement character, and that is encoded as other bytes.
  return sequence.length === length && Buffer.from(sequence.toString('utf8')).equals(sequence) ? length : 0
}
