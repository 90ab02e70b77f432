// On which line of a TOML file something stands. The parser tells that of what it cannot read, but not of what it has read, so
// the lines are gone through once more for headers and assignments.

/** A place in a TOML file: `['auth', 'keys', 0, 'role']`. */
export type Path = readonly (string | number)[]

/**
 * A function that tells the line of a place: its own, or that of the nearest thing around it which has one; 1 when there is
 * none.
 */
export function linesOf(source: string): (path: Path) => number {
  const found = new Map<string, number>()
  const note = (path: Path, line: number) => {
    const name = nameOf(path)
    if (!found.has(name)) found.set(name, line)
  }
  const counts = new Map<string, number>()
  let current: Path = []
  let inText: string | undefined
  for (const [index, line] of source.split('\n').entries()) {
    const wasInText = inText
    inText = afterLine(line, inText)
    if (wasInText) continue
    const header = /^\s*(\[\[?)(.+?)\]\]?\s*(?:#.*)?$/.exec(line)
    if (header) {
      const keys = keysOf(header[2] ?? '')
      if (keys.length === 0) continue
      // A table below a list of tables belongs to the last one of the list.
      const withPlaces: (string | number)[] = []
      for (const [at, key] of keys.entries()) {
        withPlaces.push(key)
        const isListed = header[1] === '[[' && at === keys.length - 1
        const count = counts.get(nameOf(withPlaces))
        if (isListed) {
          note(withPlaces, index + 1)
          counts.set(nameOf(withPlaces), (count ?? -1) + 1)
          withPlaces.push((count ?? -1) + 1)
        } else if (count !== undefined) withPlaces.push(count)
        note(withPlaces, index + 1)
      }
      current = withPlaces
      continue
    }
    const assigned = /^\s*((?:"[^"]*"|'[^']*'|[^=#"'])+?)\s*=/.exec(line)?.[1]
    if (assigned === undefined) continue
    const keys = keysOf(assigned)
    for (let length = 1; length <= keys.length; length++)
      note([...current, ...keys.slice(0, length)], index + 1)
  }
  return (path) => {
    for (let length = path.length; length > 0; length--) {
      const line = found.get(nameOf(path.slice(0, length)))
      if (line !== undefined) return line
    }
    return 1
  }
}

/** The name of a place as users write it: `auth.keys[0].role`. */
export function formatPath(path: Path): string {
  return path.reduce<string>((name, part) => {
    if (typeof part === 'number') return `${name}[${part}]`
    const key = /^[\w-]+$/.test(part) ? part : JSON.stringify(part)
    return name === '' ? key : `${name}.${key}`
  }, '')
}

/** A problem in the form of all others: place, name, what is wrong. */
export function formatProblem(where: string, path: Path, problem: string): string {
  return `${where}: "${formatPath(path)}" ${problem}`
}

function nameOf(path: Path): string {
  return JSON.stringify(path)
}

function keysOf(text: string): string[] {
  const parts = text.match(/"[^"]*"|'[^']*'|[^.\s"']+/g) ?? []
  return parts.map((part) => part.replace(/^(["'])(.*)\1$/, '$2'))
}

/** The delimiter of the text over several lines that is open after a line. */
function afterLine(line: string, inText: string | undefined): string | undefined {
  let open = inText
  for (const [delimiter] of line.matchAll(/"""|'''/g)) {
    if (open === undefined) open = delimiter
    else if (open === delimiter) open = undefined
  }
  return open
}
