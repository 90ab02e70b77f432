// The Range header (RFC 9110, 14.2), the first range of it.

export type Range =
  | { kind: 'whole' }
  /** Both ends are part of it. */
  | { kind: 'part'; start: number; end: number }
  | { kind: 'unsatisfiable' }
  | { kind: 'malformed' }

/** Which bytes of a file of `size` a Range header asks for. */
export function parseRange(header: string | undefined, size: number): Range {
  if (header === undefined || size === 0) return { kind: 'whole' }
  const match = /^\s*bytes\s*=\s*(\d{0,15})\s*-\s*(\d{0,15})\s*(?:,.*)?$/i.exec(header)
  const [, from = '', to = ''] = match ?? []
  if (!match || (from === '' && to === '')) return { kind: 'malformed' }
  if (from === '') {
    const length = Math.min(Number(to), size)
    return length === 0 ? { kind: 'unsatisfiable' } : { kind: 'part', start: size - length, end: size - 1 }
  }
  const start = Number(from)
  if (to !== '' && Number(to) < start) return { kind: 'malformed' }
  if (start >= size) return { kind: 'unsatisfiable' }
  return { kind: 'part', start, end: to === '' ? size - 1 : Math.min(Number(to), size - 1) }
}
