// Every path that a client names goes through here (contract: execd.md 0.5): `$NAME` and `${NAME}` come from the
// environment, `~` is the home directory, and a relative path begins at the working directory. Only whole names are
// expanded: `$1`, `$$` or a lone `$` stay as they are, because a part that became empty would make `/data/$1` mean `/data`.
// The sandbox itself is the boundary; a few directories that it cannot live without are never removed or replaced.

import { resolve } from 'node:path'
import { execdError } from '../http/answer.ts'

const MAX_PATH_BYTES = 4096

export type PathContext = {
  env: Record<string, string>
  home: string
  cwd: string
}

/** The absolute path that `path` means. Throws a refusal that says why there is none. */
export function resolvePath(path: string, { env, home, cwd }: PathContext): string {
  if (path === '') throw execdError('INVALID_REQUEST_BODY', 'A path is empty')
  if (path.includes('\0'))
    throw execdError('INVALID_REQUEST_BODY', `A path has a NUL byte: ${JSON.stringify(path.slice(0, 100))}`)
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
  if (Buffer.byteLength(absolute) > MAX_PATH_BYTES)
    throw execdError('INVALID_REQUEST_BODY', `A path is longer than ${MAX_PATH_BYTES} bytes`)
  return absolute
}

/** Refuses to remove or replace `path` when it is, holds, or lies in a directory that the sandbox cannot live without. */
export function refuseVital(path: string, vital: string[]): void {
  for (const dir of ['/', '/proc', '/sys', '/dev'])
    if (path === dir)
      throw execdError('INVALID_REQUEST_BODY', `Cannot remove or replace "${path}": the sandbox needs it`)
  for (const dir of vital)
    if (path === dir || path.startsWith(`${dir}/`) || dir.startsWith(`${path}/`))
      throw execdError('INVALID_REQUEST_BODY', `Cannot remove or replace "${path}": execd needs "${dir}"`)
}
