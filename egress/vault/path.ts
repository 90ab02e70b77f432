// Whether a path is below another, when nobody knows how the server will read it. Servers disagree about `%2F`, `..`, `//`, `\` and `;`,
// and a path that leads somewhere else in one reading must not borrow the rights of the place where it seems to lead. So every
// reading is tried, and where they disagree the answer is that it depends.

export type PathFit = 'fits' | 'differs' | 'depends'

const PLAIN = /^\/[A-Za-z0-9_\-.~!$&'()*+,=:@/]*$/
const SEGMENTS_TO_RESOLVE = /\/\/|\/\.+(\/|$)/
const MAX_PATTERN_LENGTH = 2048
/** Nobody undoes escapes more often than this. */
const MAX_DECODED = 4
/** What some take for a dot, a slash or a backslash: UTF-8 in more bytes than it needs, and escapes of JavaScript. */
const LONG_WINDED: readonly [RegExp, string][] = [
  [/%c0%ae|%e0%80%ae|%u002e|%uff0e/gi, '.'],
  [/%c0%af|%e0%80%af|%u002f|%u2215|%uff0f/gi, '/'],
  [/%c1%9c|%e0%81%9c|%u005c|%uff3c/gi, '\\'],
]
/** Where names may not end so, `.. ` is `..` (as on Windows), and so is what stands before a NUL. */
const PARENT_IN_DISGUISE = /(^|\/)\.\.[. \t]*(?:\0[^/]*)?(?=\/|$)/g

/** A pattern as it is kept, or what it must be. A trailing `*` stands for any rest. */
export function parsePathPattern(text: string): { pattern: string } | { problem: string } {
  const path = text.endsWith('*') ? text.slice(0, -1) : text
  const [only, ...others] = readingsOf(path)
  const isPlain = others.length === 0 && only !== undefined && path.startsWith('/')
  if (!isPlain || text.length > MAX_PATTERN_LENGTH || /[?#*]|[^\x21-\x7e]/.test(path))
    return {
      problem:
        'a path that begins with "/", without "?", "#", ".", ".." or "//" segments, perhaps with "*" at its end',
    }
  return { pattern: text }
}

/** Whether a path fits any of the patterns. Its query, if it has one, is not part of it. */
export function fitsPatterns(path: string, patterns: readonly string[]): PathFit {
  // As a whole server is asked about itself (RFC 9110 7.1).
  if (path === '*') return 'differs'
  const readings = readingsOf(path)
  const fits = readings.filter((reading) => patterns.some((pattern) => isBelow(reading, pattern)))
  if (fits.length === 0) return 'differs'
  return fits.length === readings.length ? 'fits' : 'depends'
}

/** Whether a path can fit both. */
export function patternsOverlap(one: string, other: string): boolean {
  const [first, second] = [readPattern(one), readPattern(other)]
  if (first.isExact) return isBelow(first.text, other)
  if (second.isExact) return isBelow(second.text, one)
  return first.text.startsWith(second.text) || second.text.startsWith(first.text)
}

function isBelow(reading: string, pattern: string): boolean {
  const { text, isExact } = readPattern(pattern)
  return isExact ? reading === text : reading.startsWith(text)
}

function readPattern(pattern: string): { text: string; isExact: boolean } {
  const isExact = !pattern.endsWith('*')
  return { text: decoded(isExact ? pattern : pattern.slice(0, -1)), isExact }
}

/** All that a server may take a path for, each once. */
function readingsOf(path: string): string[] {
  if (PLAIN.test(path) && !SEGMENTS_TO_RESOLVE.test(path)) return [path]
  const literal = decoded(path.replace(/%(2f|5c|3b|25)/gi, '%25$1'))
  const all = [literal, ...decodings(path), ...decodings(withoutLongWinded(path))].flatMap((reading) => {
    const slashed = reading.replaceAll('\\', '/')
    const undisguised = slashed.replace(PARENT_IN_DISGUISE, '$1..')
    const unparametered = slashed.replace(/;[^/]*/g, '')
    return [reading, resolved(slashed), resolved(undisguised), resolved(unparametered)]
  })
  return [...new Set(all)]
}

/** With its escapes undone once, and again as long as there are any. */
function decodings(path: string): string[] {
  const found = [decoded(path)]
  while (found.length < MAX_DECODED) {
    const last = found.at(-1) ?? ''
    const next = decoded(withoutLongWinded(last))
    if (next === last) break
    found.push(next)
  }
  return found
}

function withoutLongWinded(path: string): string {
  if (!path.includes('%')) return path
  return LONG_WINDED.reduce((text, [written, meant]) => text.replace(written, meant), path)
}

/** With the escapes of its bytes undone; what is no proper escape stays as it is. */
function decoded(text: string): string {
  if (!text.includes('%')) return text
  return text.replace(/(%[0-9a-f]{2})+/gi, (escapes) =>
    Buffer.from(escapes.replaceAll('%', ''), 'hex').toString('latin1'),
  )
}

/** Without empty, `.` and `..` segments; a slash at the end stays. */
function resolved(path: string): string {
  const kept: string[] = []
  const segments = path.split('/')
  for (const segment of segments) {
    if (segment === '..') kept.pop()
    else if (segment !== '' && segment !== '.') kept.push(segment)
  }
  const endsOpen = ['', '.', '..'].includes(segments.at(-1) ?? '') && kept.length > 0
  return `/${kept.join('/')}${endsOpen ? '/' : ''}`
}
