// Patterns of file names: `*`, `?`, `**`, `[a-z]`, `[!x]`, `{a,b}`, `!(x)`, `\` before a character that means itself
// (contract: execd.md 6.4). All ways to match are followed at once, so that a pattern takes no longer than its length times
// the length of the name; a translation to a regular expression could take for ever.

const MAX_PATTERN = 1024
const MAX_ALTERNATIVES = 256

type Token =
  | { kind: 'char'; char: string }
  | { kind: 'any' } // ?
  | { kind: 'star' } // * within a name
  | { kind: 'deep' } // ** across names
  | { kind: 'deepDirs' } // **/ : any number of directories
  | { kind: 'class'; negated: boolean; ranges: [string, string][] }
  | { kind: 'not'; alternatives: Token[][] }

/** The pattern cannot be read; the message says where. */
export class GlobError extends Error {}

/** A matcher for one pattern. Throws GlobError when the pattern cannot be read. */
export function createGlob(pattern: string): (name: string) => boolean {
  if (pattern.length > MAX_PATTERN)
    throw new GlobError(`The pattern is longer than ${MAX_PATTERN} characters`)
  const alternatives = expandBraces(pattern).map(parseTokens)
  return (name) => {
    const chars = [...name]
    return alternatives.some((tokens) => matches(tokens, chars))
  }
}

// Token by token, the set of places in the name that the pattern so far can have reached.
function matches(tokens: Token[], chars: string[]): boolean {
  let places = new Set([0])
  for (const token of tokens) {
    const next = new Set<number>()
    for (const place of places) advance(token, chars, place, next)
    if (next.size === 0) return false
    places = next
  }
  return places.has(chars.length)
}

function advance(token: Token, chars: string[], place: number, next: Set<number>): void {
  const char = chars[place]
  switch (token.kind) {
    case 'char':
      if (char === token.char) next.add(place + 1)
      return
    case 'any':
      if (char !== undefined && char !== '/') next.add(place + 1)
      return
    case 'class':
      if (char !== undefined && char !== '/' && inClass(token, char)) next.add(place + 1)
      return
    case 'star':
    case 'deep':
      // A place that is already there has been here before, with all that follows.
      for (let at = place; !next.has(at); at++) {
        next.add(at)
        if (at === chars.length || (token.kind === 'star' && chars[at] === '/')) return
      }
      return
    case 'deepDirs':
      next.add(place)
      for (let at = place; at < chars.length; at++) if (chars[at] === '/') next.add(at + 1)
      return
    case 'not':
      for (let end = place; ; end++) {
        const part = chars.slice(place, end)
        if (!token.alternatives.some((inner) => matches(inner, part))) next.add(end)
        if (end >= chars.length || chars[end] === '/') return
      }
  }
}

function inClass({ negated, ranges }: Token & { kind: 'class' }, char: string): boolean {
  return ranges.some(([low, high]) => char >= low && char <= high) !== negated
}

function parseTokens(pattern: string): Token[] {
  const chars = [...pattern]
  const tokens: Token[] = []
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at] ?? ''
    if (char === '\\') {
      const next = chars[++at]
      if (next === undefined) throw new GlobError('The pattern ends with a "\\"')
      tokens.push({ kind: 'char', char: next })
    } else if (char === '*') {
      let stars = 1
      while (chars[at + 1] === '*') {
        stars++
        at++
      }
      if (stars === 1) tokens.push({ kind: 'star' })
      else if (chars[at + 1] === '/') {
        tokens.push({ kind: 'deepDirs' })
        at++
      } else tokens.push({ kind: 'deep' })
    } else if (char === '?') tokens.push({ kind: 'any' })
    else if (char === '[') at = parseClass(chars, at, tokens)
    else if (char === '!' && chars[at + 1] === '(') {
      const end = closing(chars, at + 1)
      const inner = chars.slice(at + 2, end).join('')
      if (inner.includes('!(')) throw new GlobError('The pattern has a "!(" inside another one')
      tokens.push({ kind: 'not', alternatives: inner.split('|').map(parseTokens) })
      at = end
    } else tokens.push({ kind: 'char', char })
  }
  return tokens
}

function parseClass(chars: string[], open: number, tokens: Token[]): number {
  const negated = chars[open + 1] === '!' || chars[open + 1] === '^'
  const first = open + (negated ? 2 : 1)
  const ranges: [string, string][] = []
  let at = first
  for (; at < chars.length && (chars[at] !== ']' || at === first); at++) {
    if (chars[at] === '\\') at++
    const low = chars[at]
    let high = low
    if (chars[at + 1] === '-' && chars[at + 2] !== undefined && chars[at + 2] !== ']') {
      at += 2
      if (chars[at] === '\\') at++
      high = chars[at]
    }
    if (low === undefined || high === undefined) break
    if (low > high) throw new GlobError(`The pattern has a range that goes backwards: "${low}-${high}"`)
    ranges.push([low, high])
  }
  if (at >= chars.length) throw new GlobError('The pattern has a "[" without its "]"')
  tokens.push({ kind: 'class', negated, ranges })
  return at
}

function closing(chars: string[], open: number): number {
  for (let at = open + 1; at < chars.length; at++) {
    if (chars[at] === '\\') at++
    else if (chars[at] === ')') return at
  }
  throw new GlobError('The pattern has a "!(" without its ")"')
}

/** `a{b,c}d` as `abd` and `acd`, inner ones too. */
function expandBraces(pattern: string): string[] {
  const done: string[] = []
  const open = [pattern]
  while (open.length > 0) {
    if (open.length + done.length > MAX_ALTERNATIVES)
      throw new GlobError(`The pattern has more than ${MAX_ALTERNATIVES} alternatives`)
    const next = open.pop() ?? ''
    const brace = findBrace(next)
    if (!brace) done.push(next)
    else
      open.push(
        ...brace.options.map((option) => next.slice(0, brace.start) + option + next.slice(brace.end + 1)),
      )
  }
  return done
}

/** The first brace of a pattern that is not inside a class and not behind a `\`. */
function findBrace(pattern: string): { start: number; end: number; options: string[] } | undefined {
  let start = -1
  let depth = 0
  let from = 0
  let inClassFrom = -1
  const options: string[] = []
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at]
    if (char === '\\') at++
    else if (inClassFrom >= 0) {
      if (char === ']' && at > inClassFrom + 1) inClassFrom = -1
    } else if (char === '[') inClassFrom = at
    else if (char === '{') {
      if (depth++ === 0) {
        start = at
        from = at + 1
      }
    } else if (char === ',' && depth === 1) {
      options.push(pattern.slice(from, at))
      from = at + 1
    } else if (char === '}' && depth > 0 && --depth === 0) {
      options.push(pattern.slice(from, at))
      return { start, end: at, options }
    }
  }
  if (depth > 0) throw new GlobError('The pattern has a "{" without its "}"')
  return undefined
}
