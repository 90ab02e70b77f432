// The configuration's file: walks its sections, hands each known key on with its place, and tells what nobody knows.

import { parse, TomlError } from 'smol-toml'
import { isTable } from './checks.ts'
import { linesOf, type Path } from './lines.ts'
import { nearestOf } from './nearest.ts'

export type KnownNames = {
  settings: string[]
  /** Accepted and not used; `section.*` stands for all of a section. */
  withoutMeaning: string[]
}

export type Unused = { where: string; name: string }

export type TomlReader = {
  known: KnownNames
  /** Takes a known key; `where` tells the place of something within its value. */
  set: (name: string, value: unknown, where: (within: Path) => string) => void
  problems: string[]
  unused: Unused[]
}

export function readToml(source: string, path: string, reader: TomlReader): void {
  const { known, problems, unused } = reader
  const root = parseToml(source, path, problems)
  if (!root) return
  const lineOf = linesOf(source)
  const walk = (table: Record<string, unknown>, at: string[]) => {
    for (const [key, value] of Object.entries(table)) {
      const keys = [...at, key]
      const name = keys.join('.')
      const where = (within: Path = []) => `${path}:${lineOf([...keys, ...within])}`
      if (known.settings.includes(name)) reader.set(name, value, where)
      else if (isWithoutMeaning(name, known)) unused.push({ where: where(), name })
      else if (isTable(value) && isSection(name, known)) walk(value, keys)
      else problems.push(`${where()}: unknown key "${name}": ${suggest(name, isTable(value), known)}`)
    }
  }
  walk(root, [])
}

/** The table that a TOML file is; a problem with its line when it is none. */
export function parseToml(
  source: string,
  path: string,
  problems: string[],
): Record<string, unknown> | undefined {
  try {
    return parse(source)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    // What follows the first line of the message is a part of the file, which may hold a secret.
    problems.push(`${path}:${error.line}: not valid TOML: ${error.message.split('\n')[0]}`)
    return undefined
  }
}

function isWithoutMeaning(name: string, { withoutMeaning }: KnownNames): boolean {
  return withoutMeaning.some(
    (known) => known === name || (known.endsWith('.*') && name.startsWith(known.slice(0, -1))),
  )
}

function isSection(name: string, { settings, withoutMeaning }: KnownNames): boolean {
  return [...settings, ...withoutMeaning].some((known) => known.startsWith(`${name}.`))
}

function suggest(name: string, isTable: boolean, { settings }: KnownNames): string {
  const sections = [...new Set(settings.map((key) => key.slice(0, key.lastIndexOf('.'))))]
  const nearest = nearestOf(name, isTable ? sections : settings)
  const hint = nearest === undefined ? '' : `; the nearest is "${nearest}"`
  const section = name.slice(0, Math.max(0, name.lastIndexOf('.')))
  const keys = settings.filter((key) => key.slice(0, key.lastIndexOf('.')) === section)
  if (keys.length > 0)
    return `[${section}] knows ${keys.map((key) => key.slice(section.length + 1)).join(', ')}${hint}`
  return `the sections are ${[...new Set(sections.map((key) => key.split('.')[0]))].join(', ')}${hint}`
}
