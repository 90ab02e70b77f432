// Every path that a client names goes through here (contract: execd.md 0.5): `$NAME` and `${NAME}` come from the
// environment, `~` is the home directory, and a relative path begins at the working directory. Only whole names are
// expanded: `$1`, `$$` or a lone `$` stay as they are, because a part that became empty would make `/data/$1` mean `/data`.
// The sandbox itself is the boundary (vital.ts has the exceptions).

import { resolve } from 'node:path'
import { execdError } from '../http/answer.ts'
import { encodeName, hasForeignSurrogate } from './name.ts'

const MAX_PATH_BYTES = 4096

export type PathContext = {
  env: Record<string, string>
  home: string
  cwd: string
  /** Throws a refusal for an absolute path that is not to be reached in this context. */
  confine?: (path: string) => void
}

/** The absolute path that `path` means. Throws a refusal that says why there is none. */
export function resolvePath(path: string, { env, home, cwd, confine }: PathContext): string {
  if (path === '') throw execdError('INVALID_REQUEST_BODY', 'A path is empty')
  if (path.includes('\0'))
    throw execdError('INVALID_REQUEST_BODY', `A path has a NUL byte: ${JSON.stringify(path.slice(0, 100))}`)
  if (hasForeignSurrogate(path))
    throw execdError(
      'INVALID_REQUEST_BODY',
      'A path has half of a character, which no name of a file can have',
    )
  const expanded = path.replace(
    /\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))/g,
    (_whole, braced: string | undefined, plain: string | undefined) => {
      const name = braced ?? plain ?? ''
      const value = Object.hasOwn(env, name) ? env[name] : undefined
      if (value === undefined)
        throw execdError(
          'INVALID_REQUEST_BODY',
          `Cannot resolve the path "${path}" as the variable "${name}" is not set`,
        )
      return value
    },
  )
  const fromHome = /^~(?=$|[/\\])/.test(expanded) ? home + expanded.slice(1) : expanded
  const absolute = resolve(cwd, fromHome)
  if (encodeName(absolute).length > MAX_PATH_BYTES)
    throw execdError('INVALID_REQUEST_BODY', `A path is longer than ${MAX_PATH_BYTES} bytes`)
  confine?.(absolute)
  return absolute
}
