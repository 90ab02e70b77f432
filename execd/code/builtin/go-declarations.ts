// Declarations of Go as a context keeps them: each name once, with where in which cell it was written.

import { type NameAt, type Part, parseCell } from './go-source.ts'

/** What a `main` of the user's is called in the program of its cell. */
export const MAIN_OF_CELL = 'k_main'

export type Declaration = {
  kind: 'func' | 'type' | 'const' | 'var'
  names: string[]
  /** A function's type, when it is a method. */
  receiver?: string
  text: string
  cell: number
  line: number
  column: number
  isPlainType: boolean
  /** A variable that has never had a value. */
  isEmpty?: boolean
}

/** How a variable whose value cannot be kept is declared again. */
export type Again = { text: string; line: number; column: number; isFunction: boolean }

/** What a part of a cell declares. */
export function declarationOf(part: Part, source: string, cell: number): Declaration[] {
  if (part.kind === 'package' || part.kind === 'import' || part.kind === 'statement') return []
  const names = part.names.map(({ name }) => name)
  if (part.kind === 'func' && names[0] === 'main' && part.receiver === undefined) {
    const [at = { name: '', start: 0 }] = part.names
    const text = rename(source.slice(part.start, part.end), [at], part.start, MAIN_OF_CELL)
    return [{ kind: 'func', names, text, ...placeOf(source, part.start, cell), isPlainType: false }]
  }
  const before = source.slice(part.start, part.end)
  // One of a group in brackets has no keyword of its own.
  const keyword = before.startsWith(part.kind) ? '' : `${part.kind} `
  const { line, column } = placeOf(source, part.start, cell)
  return [
    {
      kind: part.kind,
      names,
      ...(part.kind === 'func' && part.receiver !== undefined ? { receiver: part.receiver } : {}),
      text: keyword + before,
      cell,
      line,
      column: Math.max(1, column - keyword.length),
      isPlainType: part.kind === 'type' && part.isPlain,
    },
  ]
}

export function placeOf(
  source: string,
  at: number,
  cell: number,
): { cell: number; line: number; column: number } {
  const before = source.slice(0, at)
  const line = before.split('\n').length
  return { cell, line, column: Buffer.byteLength(before.slice(before.lastIndexOf('\n') + 1)) + 1 }
}

/** The declarations that are left when others are made: a name is declared once. */
export function replace(
  declarations: Declaration[],
  others: Pick<Declaration, 'names' | 'receiver'>[],
): Declaration[] {
  const functions = new Set(others.map(({ names, receiver }) => (receiver ? `${receiver}.${names[0]}` : '')))
  const names = new Set(others.flatMap((each) => (each.receiver ? [] : each.names)))
  return declarations.flatMap((each) => {
    if (each.receiver) return functions.has(`${each.receiver}.${each.names[0]}`) ? [] : [each]
    const left = each.names.filter((name) => !names.has(name))
    if (left.length === each.names.length) return [each]
    if (left.length === 0) return []
    // Of several that are declared together, the others stay as they are.
    const parsed = parseCell(each.text).flatMap((part) => ('names' in part ? part.names : []))
    const gone = parsed.filter(({ name }) => names.has(name))
    return [{ ...each, names: left, text: rename(each.text, gone, 0, '_') }]
  })
}

/** The text with other names at some places; `base` is where the text begins in what the places are of. */
function rename(text: string, places: NameAt[], base: number, name: string): string {
  return places.toReversed().reduce((renamed, place) => {
    const at = place.start - base
    return renamed.slice(0, at) + name + renamed.slice(at + place.name.length)
  }, text)
}

/** The text with its place for the compiler. */
export function located({ text, cell, line, column }: Declaration): string {
  return `//line cell-${cell}:${line}:${column}\n${text}`
}

/** By name, declarations that can be made again in every program, as they do nothing: functions, and variables without a value. */
export function redeclarable(parts: Part[], source: string, cell: number): Map<string, Again> {
  const again = new Map<string, Again>()
  for (const part of parts) {
    if (part.kind !== 'var' && part.kind !== 'statement') continue
    const names = part.kind === 'var' ? part.names : part.defines
    const [first] = names
    const isFunction = part.init === 'func' && names.length === 1
    if (!first || !(isFunction || (part.kind === 'var' && !part.init))) continue
    const { line, column } = placeOf(source, part.start, cell)
    // From behind the names: the type, or what is assigned.
    const last = names.at(-1) ?? first
    const rest = source.slice(last.start + last.name.length, part.end).replace(/^\s*:=/, ' =')
    for (const { name } of names) again.set(name, { text: `var ${name}${rest}`, line, column, isFunction })
  }
  return again
}
