// Code with variables of its own. They are set in a shell below the session's (contract: execd.md 8.3), and go with it.

import { execdError } from '../http/answer.ts'

/** The code that runs `code` with these variables. Throws a refusal for a name that no shell can have. */
export function withEnvironment(code: string, envs: Record<string, string>): string {
  const entries = Object.entries(envs)
  if (entries.length === 0) return code
  const assignments = entries.map(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
      throw execdError(
        'INVALID_REQUEST_BODY',
        `"envs" has a name that no variable of a shell can have: "${name}"`,
      )
    return `${name}=${quote(value)}`
  })
  // In one line, so that errors name the lines of the code.
  return `(builtin export ${assignments.join(' ')}; builtin eval ${quote(code)})`
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
