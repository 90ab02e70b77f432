// The Range header (RFC 9110, 14.2).

/** More ranges than this, empty ones included, or ranges that together are longer than the file, are a way to waste work: the whole file goes out. */
const MAX_RANGES = 64

/** Both ends are part of it. */
export type ByteRange = { start: number; end: number }

export type Ranges =
  | { kind: 'whole' }
  /** In the order of the header; at least one. */
  | { kind: 'parts'; parts: ByteRange[] }
  | { kind: 'unsatisfiable' }
  | { kind: 'malformed' }

/** Which bytes of a file of `size` a Range header asks for. */
export function parseRanges(header: string | undefined, size: number): Ranges {
  if (header === undefined || size === 0) return { kind: 'whole' }
  const list = /^\s*bytes\s*=(.*)$/is.exec(header)?.[1]
  // A header may have tens of thousands of them, of which none is looked at.
  if (list !== undefined && list.split(',', MAX_RANGES + 1).length > MAX_RANGES) return { kind: 'whole' }
  const specs = list
    ?.split(',')
    .map((spec) => spec.trim())
    .filter((spec) => spec !== '')
  if (!specs || specs.length === 0) return { kind: 'malformed' }
  const parts: ByteRange[] = []
  for (const spec of specs) {
    const part = parseSpec(spec, size)
    if (part === 'malformed') return { kind: 'malformed' }
    if (part) parts.push(part)
  }
  if (parts.length === 0) return { kind: 'unsatisfiable' }
  const total = parts.reduce((sum, { start, end }) => sum + end - start + 1, 0)
  return parts.length > 1 && total > size ? { kind: 'whole' } : { kind: 'parts', parts }
}

/** Undefined when the file has none of these bytes. */
function parseSpec(spec: string, size: number): ByteRange | 'malformed' | undefined {
  const match = /^(\d{0,15})\s*-\s*(\d{0,15})$/.exec(spec)
  const [, from = '', to = ''] = match ?? []
  if (!match || (from === '' && to === '')) return 'malformed'
  if (from === '') {
    const length = Math.min(Number(to), size)
    return length === 0 ? undefined : { start: size - length, end: size - 1 }
  }
  const start = Number(from)
  if (to !== '' && Number(to) < start) return 'malformed'
  if (start >= size) return undefined
  return { start, end: to === '' ? size - 1 : Math.min(Number(to), size - 1) }
}
