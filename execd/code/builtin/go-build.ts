// What the Go compiler says, by place. The places are those that the program's `//line` directives gave its parts.

export type BuildProblem = {
  /** `cell-3`, `kept-x`, or a file of the program for what belongs to no part. */
  where: string
  line: number
  column: number
  message: string
}

const PLACE = /^(?:\.\/)?([^\s:]+):(\d+):(?:(\d+):)? (.*)$/

/** Reads the output of `go build`. What names no place is left. */
export function parseBuildOutput(text: string): BuildProblem[] {
  const problems: BuildProblem[] = []
  for (const line of text.split('\n')) {
    const [, path = '', at = '', column = '1', message = ''] = PLACE.exec(line) ?? []
    const last = problems.at(-1)
    if (path) {
      const where = path.slice(path.lastIndexOf('/') + 1)
      problems.push({ where, line: Number(at), column: Number(column), message })
    } else if (last && /^\t/.test(line)) last.message += `\n${line.trim()}`
  }
  return problems
}

/** The import that a file has and does not use. */
export function unusedImport({ where, message }: BuildProblem): string | undefined {
  const [, path] = /^"([^"]+)" imported(?: as \S+)? and not used/.exec(message) ?? []
  return path === undefined ? undefined : `${where} ${path}`
}

/** As lines for a person: the place, the line of the cell, and a mark below it. */
export function describeProblem({ line, column, message }: BuildProblem, source: string): string[] {
  const lines = source.split('\n')
  // What is missing at the end is told of a line that the cell does not have.
  if (line > lines.length) return [`line ${lines.length}: ${message}`]
  const text = lines[line - 1] ?? ''
  const indent = text.slice(0, Math.max(0, column - 1)).replace(/[^\t]/g, ' ')
  return [`line ${line}: ${message}`, text, `${indent}^`]
}
