// The environment of the user's processes: the boot environment, then the file that clients add variables to (contract:
// v1.1.md 2.5), then the request's own. Later ones win.

import { execdError } from '../http/answer.ts'
import { DEFAULT_PATH } from './program.ts'

/** More does not fit into the environment of a process anyway; a line that doubles the one before would soon take all memory. */
const MAX_EXPANDED_CHARS = 4 << 20

/** The boot environment with what every process can rely on. */
export function userEnvironment(
  boot: Record<string, string>,
  home: string | undefined,
): Record<string, string> {
  return { PATH: DEFAULT_PATH, HOME: home ?? '/', ...boot }
}

/**
 * Reads the lines `NAME=value` of an environment file. A value in single quotes is literal and may span lines; in double
 * quotes `\\ \" \n \r \t` are escapes; a bare one is trimmed and its `$NAME` and `${NAME}` come from the lines before, else from
 * `base`. Blank lines, comments and lines that are not assignments are skipped.
 */
export function parseEnvironmentFile(text: string, base: Record<string, string>): Record<string, string> {
  const found: Record<string, string> = {}
  let room = MAX_EXPANDED_CHARS
  const entry =
    /[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=(?:'([^']*)'[ \t]*(?=\r?\n|$)|"((?:[^"\\]|\\[\s\S])*)"[ \t]*(?=\r?\n|$)|([^\n]*))/y
  let at = 0
  while (at < text.length) {
    entry.lastIndex = at
    const match = entry.exec(text)
    if (match) {
      const [whole, name = '', literal, escaped, bare] = match
      if (literal !== undefined) found[name] = literal
      else if (escaped !== undefined) found[name] = readEscapes(escaped)
      else {
        const value = expand((bare ?? '').trim(), [found, base], room)
        room -= value.length
        found[name] = value
      }
      at += whole.length
    }
    const end = text.indexOf('\n', at)
    at = end < 0 ? text.length : end + 1
  }
  for (const [name, value] of Object.entries(found)) if (value.includes('\0')) delete found[name]
  return found
}

function readEscapes(text: string): string {
  const escapes: Record<string, string> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\' }
  return text.replace(/\\([\s\S])/g, (whole, char: string) => escapes[char] ?? whole)
}

function expand(text: string, scopes: Record<string, string>[], room: number): string {
  let left = room - text.length
  return text.replace(
    /\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))/g,
    (_whole, braced: string | undefined, plain: string | undefined) => {
      const name = braced ?? plain ?? ''
      const value = scopes.find((scope) => Object.hasOwn(scope, name))?.[name] ?? ''
      left -= value.length
      if (left < 0)
        throw execdError(
          'RUNTIME_ERROR',
          `The environment file has values of more than ${MAX_EXPANDED_CHARS} characters`,
        )
      return value
    },
  )
}
