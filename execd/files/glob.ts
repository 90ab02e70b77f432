// Patterns of file names: `*`, `?`, `**`, `[a-z]`, `[!x]`, `{a,b}`, `!(x)`, `\` before a character that means itself
// (contract: execd.md 6.4). All ways to match are followed at once, so that a pattern takes no longer than its length times
// the length of the name; a translation to a regular expression could take for ever.

const MAX_PATTERN = 1024
const MAX_ALTERNATIVES = 256
/** Each is tried at every place of a name, with every end. */
const MAX_EXCLUSIONS = 8
const SLASH = 0x2f

type Token =
  | { kind: 'char'; char: string }
  | { kind: 'any' } // ?
  | { kind: 'star' } // * within a name
  | { kind: 'deep' } // ** across names
  | { kind: 'deepDirs' } // **/ : any number of directories
  | { kind: 'class'; negated: boolean; ranges: [number, number][] }
  | { kind: 'not'; alternatives: Token[][] }

/** The pattern cannot be read; the message says where. */
export class GlobError extends Error {}

/** A matcher for one pattern. Throws GlobError when the pattern cannot be read. */
export function createGlob(pattern: string): (name: string) => boolean {
  if (pattern.length > MAX_PATTERN)
    throw new GlobError(`The pattern is longer than ${MAX_PATTERN} characters`)
  if (pattern.split('!(').length - 1 > MAX_EXCLUSIONS)
    throw new GlobError(`The pattern has more than ${MAX_EXCLUSIONS} times a "!("`)
  const alternatives = expandBraces(pattern).map((text) => createMatcher(parseTokens(text)))
  const [only] = alternatives
  return alternatives.length === 1 && only ? only : (name) => alternatives.some((matches) => matches(name))
}

/** Most patterns are a `*` between two texts, and most names do not have these texts: both are seen without following ways. */
function createMatcher(tokens: Token[]): (name: string) => boolean {
  const isOpen = (token: Token) => token.kind !== 'char'
  const first = tokens.findIndex(isOpen)
  const textOf = (part: Token[]) => part.map((token) => (token.kind === 'char' ? token.char : '')).join('')
  if (first < 0) {
    const text = textOf(tokens)
    return (name) => name === text
  }
  const last = tokens.findLastIndex(isOpen)
  const prefix = textOf(tokens.slice(0, first))
  const suffix = textOf(tokens.slice(last + 1))
  const fits = (name: string) =>
    name.length >= prefix.length + suffix.length && name.endsWith(suffix) && name.startsWith(prefix)
  const only = first === last ? tokens[first]?.kind : undefined
  if (only === 'deep') return fits
  if (only === 'star')
    return (name) => {
      if (!fits(name)) return false
      const slash = name.indexOf('/', prefix.length)
      return slash < 0 || slash >= name.length - suffix.length
    }
  return (name) => fits(name) && matches(tokens, codePoints(name))
}

function codePoints(name: string): number[] {
  const codes: number[] = []
  for (let at = 0; at < name.length; at++) {
    const code = name.codePointAt(at) ?? 0
    codes.push(code)
    if (code > 0xffff) at++
  }
  return codes
}

function matches(tokens: Token[], codes: number[]): boolean {
  return reachable(tokens, codes)?.[codes.length] === 1
}

/** All places in the name at which the pattern can end; found token by token, as the set of places reached so far. */
function reachable(tokens: Token[], codes: number[]): Uint8Array | undefined {
  let places = new Uint8Array(codes.length + 1)
  let next = new Uint8Array(codes.length + 1)
  places[0] = 1
  for (const token of tokens) {
    if (!advance(token, codes, places, next)) return undefined
    const done = places
    places = next
    next = done.fill(0)
  }
  return places
}

/** Fills `next` with where `token` leads from `places`; false when that is nowhere. */
function advance(token: Token, codes: number[], places: Uint8Array, next: Uint8Array): boolean {
  let isAny = false
  let isRunning = false
  const reach = (place: number) => {
    next[place] = 1
    isAny = true
  }
  for (let at = 0; at < places.length; at++) {
    const isHere = places[at] === 1
    const code = codes[at]
    switch (token.kind) {
      case 'char':
        if (isHere && code === token.char.codePointAt(0)) reach(at + 1)
        break
      case 'any':
        if (isHere && code !== undefined && code !== SLASH) reach(at + 1)
        break
      case 'class':
        if (isHere && code !== undefined && code !== SLASH && inClass(token, code)) reach(at + 1)
        break
      case 'star':
        isRunning ||= isHere
        if (isRunning) reach(at)
        if (code === SLASH) isRunning = false
        break
      case 'deep':
        isRunning ||= isHere
        if (isRunning) reach(at)
        break
      case 'deepDirs':
        isRunning ||= isHere
        if (isHere) reach(at)
        if (isRunning && code === SLASH) reach(at + 1)
        break
      case 'not':
        if (isHere) for (const end of endsOfOther(token.alternatives, codes, at)) reach(end)
    }
  }
  return isAny
}

/** Where a part of a name that begins at `from` and is none of `alternatives` can end. */
function endsOfOther(alternatives: Token[][], codes: number[], from: number): number[] {
  const slash = codes.indexOf(SLASH, from)
  const rest = codes.slice(from, slash < 0 ? codes.length : slash)
  const sets = alternatives.map((tokens) => reachable(tokens, rest))
  const ends: number[] = []
  for (let end = 0; end <= rest.length; end++)
    if (!sets.some((set) => set?.[end] === 1)) ends.push(from + end)
  return ends
}

function inClass({ negated, ranges }: Token & { kind: 'class' }, code: number): boolean {
  return ranges.some(([low, high]) => code >= low && code <= high) !== negated
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
  const ranges: [number, number][] = []
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
    const range: [number, number] = [low.codePointAt(0) ?? 0, high.codePointAt(0) ?? 0]
    if (range[0] > range[1])
      throw new GlobError(`The pattern has a range that goes backwards: "${low}-${high}"`)
    ranges.push(range)
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
