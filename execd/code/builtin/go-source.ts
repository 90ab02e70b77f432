// Go source as the parts that a cell may have: imports, declarations and statements. No parser of the language: its tokens,
// where a line ends a statement, and what is between brackets are all that is needed to tell parts from each other. What is
// wrong with a part is for the compiler to say.

export type Token = {
  kind: 'name' | 'keyword' | 'literal' | 'operator'
  text: string
  start: number
  end: number
}

/** A part of a cell. Its text is the source from `start` to `end`. */
export type Part = { start: number; end: number } & (
  | { kind: 'package' }
  | { kind: 'import'; specs: ImportSpec[] }
  | { kind: 'func'; names: NameAt[]; receiver?: string }
  /** `isPlain`: a type that values can have, and no alias, interface or generic one. */
  | { kind: 'type'; names: NameAt[]; isPlain: boolean }
  | { kind: 'const'; names: NameAt[] }
  | { kind: 'var'; names: NameAt[]; init?: 'func' | 'other' }
  /** `defines`: the names of a `:=`; `value`: whether it may be an expression. */
  | { kind: 'statement'; defines: NameAt[]; init?: 'func' | 'other'; value?: 'plain' | 'call' }
)
export type NameAt = { name: string; start: number }
/** `name` is the one that it was given, `.` and `_` included. */
export type ImportSpec = { name?: string; path: string }

const KEYWORDS = new Set(
  'break case chan const continue default defer else fallthrough for func go goto if import interface map package range return select struct switch type var'.split(
    ' ',
  ),
)
/** Keywords after which the end of a line ends a statement. */
const ENDING_KEYWORDS = new Set(['break', 'continue', 'fallthrough', 'return'])
const ENDING_OPERATORS = new Set([')', ']', '}', '++', '--'])
const HEADED_KEYWORDS = new Set(['for', 'if', 'select', 'switch'])
const BLOCK_KEYWORDS = new Set(['func', 'interface', 'struct'])
/** An expression may begin with these, a statement that is none may too. */
const EXPRESSION_KEYWORDS = new Set(['func', 'map', 'struct', 'interface', 'chan'])
const ASSIGNMENT = /^(?:[-+*/%&|^]|<<|>>|&\^)?=$|^:=$|^\+\+$|^--$|^<-$/

const TOKEN = [
  String.raw`(?<space>[ \t\r]+|//[^\n]*)`,
  String.raw`(?<newline>\n)`,
  String.raw`(?<comment>/\*[\s\S]*?(?:\*/|$))`,
  String.raw`(?<literal>\x60[^\x60]*(?:\x60|$)|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|\.?\d(?:[eEpP][+-]|[\w.])*)`,
  String.raw`(?<name>[\p{L}_][\p{L}\p{Nd}_]*)`,
  String.raw`(?<operator><<=|>>=|&\^=|\.\.\.|&&|\|\||<-|\+\+|--|==|[-+*/%&|^<>:!]=|<<|>>|&\^|[\s\S])`,
].join('|')

type Lexed = {
  tokens: Token[] /** Indexes of tokens that a statement ends before; automatic ones and `;`. */
  ends: Set<number>
}

/** Reads tokens; the semicolons, written or not, are the places where statements end. */
function readTokens(source: string): Lexed {
  const tokens: Token[] = []
  const ends = new Set<number>()
  const endLine = () => {
    const last = tokens.at(-1)
    if (!last) return
    const isEnding =
      last.kind === 'name' ||
      last.kind === 'literal' ||
      (last.kind === 'keyword' ? ENDING_KEYWORDS.has(last.text) : ENDING_OPERATORS.has(last.text))
    if (isEnding) ends.add(tokens.length)
  }
  for (const match of source.matchAll(new RegExp(TOKEN, 'gu'))) {
    const { newline, comment, literal, name, operator } = match.groups ?? {}
    const text = match[0]
    const token = { text, start: match.index, end: match.index + text.length }
    if (newline !== undefined || comment?.includes('\n')) endLine()
    else if (text === ';') ends.add(tokens.length)
    else if (literal !== undefined) tokens.push({ kind: 'literal', ...token })
    else if (name !== undefined) tokens.push({ kind: KEYWORDS.has(text) ? 'keyword' : 'name', ...token })
    else if (operator !== undefined) tokens.push({ kind: 'operator', ...token })
  }
  return { tokens, ends }
}

/** The parts of a cell, in order. */
export function parseCell(source: string): Part[] {
  const { tokens, ends } = readTokens(source)
  return splitStatements(tokens, ends, 0, tokens.length).flatMap(([from, to]) => {
    const range = tokens.slice(from, to)
    const start = range[0]?.start ?? 0
    const end = range.at(-1)?.end ?? start
    return partOf(range, tokens, ends, from, to).map((part) => ({ start, end, ...part }) as Part)
  })
}

/**
 * Ranges of tokens between the ends of statements that are in no brackets. In the head of an `if`, `for` or `switch`, a semicolon
 * ends none.
 */
function splitStatements(tokens: Token[], ends: Set<number>, from: number, to: number): [number, number][] {
  const ranges: [number, number][] = []
  let depth = 0
  let start = from
  let isHead = false
  /** Blocks that belong to something in a head, such as the body of a function. */
  let inner = 0
  for (let index = from; index < to; index++) {
    const { kind, text } = tokens[index] as Token
    if (depth === 0 && !isHead && ends.has(index) && index > start) {
      ranges.push([start, index])
      start = index
    }
    if (depth === 0 && kind === 'keyword') {
      if (HEADED_KEYWORDS.has(text)) isHead = true
      else if (isHead && BLOCK_KEYWORDS.has(text)) inner++
    }
    if (kind !== 'operator') continue
    if (depth === 0 && text === '{' && inner > 0) inner--
    else if (depth === 0 && text === '{') isHead = false
    depth = Math.max(0, depth + depthChange(text))
  }
  if (start < to) ranges.push([start, to])
  return ranges
}

/** By how much an operator changes the depth of brackets. */
function depthChange(text: string): number {
  if (text === '(' || text === '[' || text === '{') return 1
  return text === ')' || text === ']' || text === '}' ? -1 : 0
}

type PartBody = Record<string, unknown> & { kind: Part['kind'] }

function partOf(range: Token[], tokens: Token[], ends: Set<number>, from: number, to: number): PartBody[] {
  const [first, second] = range
  if (first?.kind === 'keyword') {
    switch (first.text) {
      case 'package':
        return [{ kind: 'package' }]
      case 'import':
        return [{ kind: 'import', specs: specsOf(range, tokens, ends, from, to).map(importSpec) }]
      case 'func': {
        const named = funcName(range)
        if (named) return [{ kind: 'func', ...named }]
        break
      }
      case 'const':
        return [{ kind: 'const', names: specsOf(range, tokens, ends, from, to).flatMap(namesOf) }]
      case 'type':
      case 'var':
        return second?.text === '('
          ? specsOf(range, tokens, ends, from, to).map((spec) => ({
              ...(first.text === 'var' ? varOf(spec) : typeOf(spec)),
              start: spec[0]?.start,
              end: spec.at(-1)?.end,
            }))
          : [first.text === 'var' ? varOf(range.slice(1)) : typeOf(range.slice(1))]
    }
  }
  return [statementOf(range)]
}

/** The specifications of a declaration: those between its brackets, or the one behind the keyword. */
function specsOf(range: Token[], tokens: Token[], ends: Set<number>, from: number, to: number): Token[][] {
  if (range[1]?.text !== '(') return [range.slice(1)]
  const isClosed = range.at(-1)?.text === ')'
  return splitStatements(tokens, ends, from + 2, isClosed ? to - 1 : to).map(([a, b]) => tokens.slice(a, b))
}

function importSpec(spec: Token[]): ImportSpec {
  const path = spec.findLast(({ kind }) => kind === 'literal')?.text.slice(1, -1) ?? ''
  const first = spec[0]
  return first && first.kind !== 'literal' ? { name: first.text, path } : { path }
}

/** The name of a declared function, with the type that it is a method of; nothing for a function without a name. */
function funcName(range: Token[]): { names: NameAt[]; receiver?: string } | undefined {
  const nameAt = (at: number): NameAt[] | undefined => {
    const token = range[at]
    const isNamed = token?.kind === 'name' && ['(', '['].includes(range[at + 1]?.text ?? '')
    return isNamed ? [{ name: token.text, start: token.start }] : undefined
  }
  const plain = nameAt(1)
  if (plain) return { names: plain }
  if (range[1]?.text !== '(') return undefined
  const close = closingOf(range, 1)
  const names = nameAt(close + 1)
  if (!names) return undefined
  const receiver = range.slice(2, close)
  const bracket = receiver.findIndex(({ text }) => text === '[')
  const type = receiver.slice(0, bracket < 0 ? undefined : bracket).findLast(({ kind }) => kind === 'name')
  return { names, receiver: type?.text ?? '' }
}

function closingOf(range: Token[], open: number): number {
  let depth = 0
  for (let index = open; index < range.length; index++) {
    const { kind, text } = range[index] as Token
    if (kind !== 'operator') continue
    depth += depthChange(text)
    if (depth === 0) return index
  }
  return range.length
}

/** The names at the beginning of a specification: `a, b int = 1, 2`. */
function namesOf(spec: Token[]): NameAt[] {
  const names: NameAt[] = []
  for (let at = 0; spec[at]?.kind === 'name'; at += 2) {
    names.push({ name: spec[at]?.text ?? '', start: spec[at]?.start ?? 0 })
    if (spec[at + 1]?.text !== ',') break
  }
  return names
}

function typeOf(spec: Token[]): PartBody {
  const [, second, third, fourth] = spec
  const isGeneric = second?.text === '[' && third?.kind === 'name' && fourth?.text !== ']'
  const isPlain = !isGeneric && second?.text !== '=' && second?.text !== 'interface'
  return { kind: 'type', names: namesOf(spec).slice(0, 1), isPlain }
}

function varOf(spec: Token[]): PartBody {
  const equals = topLevelIndex(spec, (text) => text === '=')
  return { kind: 'var', names: namesOf(spec), ...(equals < 0 ? {} : { init: initOf(spec, equals) }) }
}

function statementOf(range: Token[]): PartBody {
  const names = namesOf(range)
  const define = names.length * 2 - 1
  if (names.length > 0 && range[define]?.text === ':=')
    return { kind: 'statement', defines: names, init: initOf(range, define) }
  const [first] = range
  const last = range.at(-1)
  const isOther =
    (first?.kind === 'keyword' && !EXPRESSION_KEYWORDS.has(first.text)) ||
    first?.text === '{' ||
    (range[1]?.text === ':' && first?.kind === 'name') ||
    topLevelIndex(range, (text, at) => ASSIGNMENT.test(text) && at > 0) >= 0
  if (isOther) return { kind: 'statement', defines: [] }
  return {
    kind: 'statement',
    defines: [],
    value: last?.text === ')' && range.length > 2 && isCall(range) ? 'call' : 'plain',
  }
}

/** Whether the last bracket pair of an expression calls what is before it. */
function isCall(range: Token[]): boolean {
  let depth = 0
  for (let index = range.length - 1; index >= 0; index--) {
    const { kind, text } = range[index] as Token
    if (kind !== 'operator') continue
    depth -= depthChange(text)
    if (depth > 0) continue
    // An operator between two operands would have made it more than one call.
    const before = range[index - 1]
    if (index === 0 || !before) return false
    if (topLevelIndex(range, (each) => /^(?:[-+*/%&|^<>]|==|!=|<=|>=|&&|\|\||<<|>>|&\^)$/.test(each)) > 0)
      return false
    return before.kind === 'name' || [')', ']', '}'].includes(before.text)
  }
  return false
}

function initOf(range: Token[], equals: number): 'func' | 'other' {
  // A literal of a function, and not a call of one.
  return range[equals + 1]?.text === 'func' && range.at(-1)?.text === '}' ? 'func' : 'other'
}

/** The first operator outside of brackets that is asked for, or -1. */
function topLevelIndex(range: Token[], is: (text: string, at: number) => boolean): number {
  let depth = 0
  for (const [index, { kind, text }] of range.entries()) {
    if (kind !== 'operator') continue
    const change = depthChange(text)
    if (change === 0 && depth === 0 && is(text, index)) return index
    depth += change
  }
  return -1
}

/** The names that something is selected from, as in `fmt.Println`: those may be packages. */
export function selectedNames(source: string): Set<string> {
  const { tokens } = readTokens(source)
  const names = new Set<string>()
  for (const [index, { kind, text }] of tokens.entries())
    if (kind === 'name' && tokens[index + 1]?.text === '.' && tokens[index - 1]?.text !== '.') names.add(text)
  return names
}
