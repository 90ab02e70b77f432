// What a Go context knows between its cells, and the program that a cell becomes. Every cell is a program of its own: all
// declarations so far, the variables with the values that the last program left in them (execd/assets/kernels/go), and a `main`
// with the cell's statements. Declaring a name again replaces what had it.
//
// The compiler is told by `//line` where each part comes from, so its messages name lines of cells.

import {
  type Again,
  type Declaration,
  declarationOf,
  located,
  MAIN_OF_CELL,
  placeOf,
  redeclarable,
  replace,
} from './go-declarations.ts'
import { GO_PACKAGES } from './go-packages.ts'
import { type ImportSpec, type Part, parseCell, selectedNames } from './go-source.ts'

/** A variable that lives on, as the last program told it. */
export type KeptVariable = {
  name: string
  type: string
  /** What the type needs, by the names that it has for them. */
  imports: Record<string, string>
  /** The user's types in it. */
  own: string[]
}
/** `why` it cannot be kept, or nothing. */
export type ToldVariable = KeptVariable & { why: string; isZero: boolean }

export type Program = {
  /** By file name. */
  files: Record<string, string>
  /** What the session will be once the program has been compiled. */
  commit(): void
  /** How variables that the cell made can be declared again when their values cannot be kept. */
  again: Map<string, Again>
  cell: number
  /** Whether a value is shown that may turn out to be none. */
  isGuessing: boolean
}

export type ProgramOptions = {
  cell: number
  statePath: string
  /** Imports that the compiler did not want, by file. */
  unwanted: Set<string>
  /** The last call is not shown, as it has no value. */
  showsCall: boolean
}

export class GoSession {
  #imports = new Map<string, ImportSpec>()
  #declarations: Declaration[] = []
  #variables = new Map<string, KeptVariable>()

  /** The program for a cell. Nothing is changed before it is committed. */
  plan(source: string, options: ProgramOptions): Program {
    const parts = parseCell(source)
    const imports = new Map(this.#imports)
    for (const part of parts)
      if (part.kind === 'import') for (const spec of part.specs) imports.set(nameOf(spec), spec)
    const own = parts.flatMap((part) => declarationOf(part, source, options.cell))
    const lasting = own.filter((each) => !isOnlyOfItsCell(each))
    const declarations = replace(this.#declarations, own)
    const taken = new Set(own.flatMap(namesOf))
    const variables = [...this.#variables.values()].filter(({ name }) => !taken.has(name))

    const types = [...declarations, ...own].filter(({ kind, isPlainType }) => kind === 'type' && isPlainType)
    const files: Record<string, string> = {
      // First by its name: what the variables of other files are made of is read before they are made.
      'a_kept.go': keptFile(
        variables,
        types.map(({ names }) => names[0] ?? ''),
        this.#emptyVariables().filter((name) => !taken.has(name)),
        options.statePath,
      ),
    }
    const known = new Set([
      ...taken,
      ...declarations.flatMap(({ names }) => names),
      ...this.#variables.keys(),
    ])
    for (const cell of new Set(declarations.map((each) => each.cell))) {
      const body = declarations.filter((each) => each.cell === cell).map(located)
      files[fileOf(cell)] = goFile(fileOf(cell), body.join('\n'), {
        imports,
        known,
        unwanted: options.unwanted,
      })
    }
    const main = mainOf(parts, source, options, own)
    const body = [...own.map(located), main.text].join('\n')
    files[fileOf(options.cell)] = goFile(fileOf(options.cell), body, {
      imports,
      known,
      unwanted: options.unwanted,
    })
    return {
      files,
      cell: options.cell,
      isGuessing: main.isGuessing,
      again: redeclarable(parts, source, options.cell),
      commit: () => {
        this.#imports = imports
        // What is a variable is told by the program; until then it is not known to have a value.
        this.#declarations = [...declarations, ...lasting.filter(({ kind }) => kind !== 'var')]
        for (const name of taken) this.#variables.delete(name)
      },
    }
  }

  /** Takes what the program told of its variables. Gives those that are lost, with the reasons. */
  keep(
    told: ToldVariable[],
    { again, cell }: Pick<Program, 'again' | 'cell'>,
  ): { name: string; why: string }[] {
    const types = new Set(
      this.#declarations.filter(({ kind }) => kind === 'type').flatMap(({ names }) => names),
    )
    const lost: { name: string; why: string }[] = []
    for (const { isZero, why, ...variable } of told) {
      const { name, own } = variable
      // Declared without a value, and still without one.
      if (why !== '' && isZero && !again.has(name) && this.#emptyVariables().includes(name)) continue
      const isNamed = own.every((type) => types.has(type))
      this.#variables.delete(name)
      this.#declarations = replace(this.#declarations, [{ names: [name] }])
      if (why === '' && isNamed) this.#variables.set(name, variable)
      else if (!this.#declareAgain({ name, isZero }, again, cell))
        lost.push({ name, why: why || 'its type is known only where it was declared' })
    }
    return lost
  }

  /** Those that are declared in every program, as they have had no value yet. */
  #emptyVariables(): string[] {
    return this.#declarations.filter(({ isEmpty }) => isEmpty).flatMap(({ names }) => names)
  }

  /** Forgets what is in the way of a program: a variable by name, or what a cell declared at a line. */
  forget(place: { variable: string } | { cell: number; line: number }): string | undefined {
    if ('variable' in place) return this.#variables.delete(place.variable) ? place.variable : undefined
    const before = this.#declarations.filter(({ cell, line }) => cell === place.cell && line <= place.line)
    const found = before.toSorted((a, b) => a.line - b.line).at(-1)
    this.#declarations = this.#declarations.filter((declaration) => declaration !== found)
    return found && (found.receiver ? `${found.receiver}.${found.names[0]}` : found.names.join(', '))
  }

  /** The session as it is, to go back to. */
  save(): () => void {
    const [imports, declarations, variables] = [this.#imports, this.#declarations, new Map(this.#variables)]
    return () => {
      this.#imports = imports
      this.#declarations = declarations
      this.#variables = variables
    }
  }

  #declareAgain(
    { name, isZero }: { name: string; isZero: boolean },
    again: Map<string, Again>,
    cell: number,
  ): boolean {
    const found = again.get(name)
    // What begins with no value is not declared again once it has one.
    if (!found || !(isZero || found.isFunction)) return false
    const { text, line, column } = found
    const place = { cell, line, column, isPlainType: false, isEmpty: !found.isFunction }
    this.#declarations.push({ kind: 'var', names: [name], text, ...place })
    return true
  }
}

/** `func init` is run when it is declared, and so is `func main`; any other function is there for later cells. */
function isOnlyOfItsCell({ kind, names: [name], receiver }: Declaration): boolean {
  return kind === 'func' && receiver === undefined && (name === 'main' || name === 'init')
}

/** The names that a declaration takes for itself; a method has its name within its type. */
function namesOf({ names, receiver }: Declaration): string[] {
  return receiver === undefined ? names : []
}

function fileOf(cell: number): string {
  return `cell_${cell}.go`
}

function keptFile(variables: KeptVariable[], types: string[], empty: string[], statePath: string): string {
  const imports = new Map(variables.flatMap((variable) => Object.entries(variable.imports)))
  const pointers = types.map((type) => `(*${type})(nil)`).join(', ')
  const names = [...variables.map(({ name }) => name), ...empty]
  const pairs = names.map((name) => `, ${quote(name)}, &${name}`).join('')
  return [
    'package main',
    ...[...imports].map(([alias, path]) => `import ${alias} ${quote(path)}`),
    ...variables.map(({ name, type }) => `//line kept-${name}:1:1\nvar ${name} ${type}`),
    `//line kept-:1:1\nvar k_ready = k_begin(${quote(statePath)}, []any{${pointers}}${pairs})`,
    '',
  ].join('\n')
}

type FileOptions = { imports: Map<string, ImportSpec>; known: Set<string>; unwanted: Set<string> }

/** A file with the imports that its text needs: those of the session, and of the standard library those with a name of their own. */
function goFile(file: string, body: string, { imports, known, unwanted }: FileOptions): string {
  const specs: ImportSpec[] = []
  const selected = selectedNames(body)
  for (const [name, spec] of imports)
    if (selected.has(name) || spec.name === '_' || spec.name === '.') specs.push(spec)
  for (const name of selected) {
    const path = GO_PACKAGES[name]
    if (path && !imports.has(name) && !known.has(name)) specs.push({ path })
  }
  const lines = specs
    .filter(({ path }) => !unwanted.has(`${file} ${path}`))
    .map(({ name, path }) => `import ${name ? `${name} ` : ''}${quote(path)}`)
  return ['package main', ...lines, body, ''].join('\n')
}

function mainOf(
  parts: Part[],
  source: string,
  { cell, showsCall }: ProgramOptions,
  own: Declaration[],
): { text: string; isGuessing: boolean } {
  const lines = ['func main() {', '\tdefer k_save()']
  for (const { kind, names } of own)
    if (kind === 'var')
      for (const name of names) if (name !== '_') lines.push(`\tk_keep(${quote(name)}, &${name})`)
  const last = parts.at(-1)
  let isGuessing = false
  for (const part of parts) {
    if (part.kind !== 'statement') continue
    const { line, column } = placeOf(source, part.start, cell)
    const text = source.slice(part.start, part.end)
    const isShown =
      part === last && (part.value === 'plain' || (part.value === 'call' && showsCall && !isKnownVoid(text)))
    isGuessing ||= isShown && part.value === 'call'
    const keeps = part.defines
      .filter(({ name }) => name !== '_')
      .map(({ name }) => `; k_keep(${quote(name)}, &${name})`)
    const shown = isShown ? `k_show(\n//line cell-${cell}:${line}:${column}\n${text})` : text + keeps.join('')
    lines.push(isShown ? shown : `//line cell-${cell}:${line}:${column}\n${shown}`)
  }
  if (
    own.some(({ kind, names, receiver }) => kind === 'func' && names[0] === 'main' && receiver === undefined)
  )
    lines.push(`${MAIN_OF_CELL}()`)
  return { text: [...lines, '}'].join('\n'), isGuessing }
}

/** Calls that are made for what they do; some of them have a value that nobody wants to see. */
function isKnownVoid(call: string): boolean {
  return /^(?:fmt\.F?[Pp]rint|log\.|print|panic\b|close\b|delete\b|clear\b|copy\b|os\.Exit\b)/.test(call)
}

/** The name that a package is known by: the given one, or what its path usually means. */
function nameOf({ name, path }: ImportSpec): string {
  if (name) return name
  const parts = path.split('/')
  const last = (/^v\d+$/.test(parts.at(-1) ?? '') ? parts.at(-2) : parts.at(-1)) ?? ''
  return last
    .replace(/\.v\d+$/, '')
    .replace(/^go-/, '')
    .replace(/[-.]go$/, '')
    .replaceAll('-', '_')
}

function quote(text: string): string {
  return JSON.stringify(text)
}
