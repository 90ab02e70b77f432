// What a session's shell is told, as text. The shell reads its script from a pipe, one line per run, and a line is all that a run
// needs: it opens the run's output, evaluates the code, reports, and writes down the state. The code is one quoted word of that line,
// so no quote, heredoc or marker in it can reach beyond, and the shell has read the whole line before the code begins.
//
// Nothing of it stays in the shell for user code to meet: no function, no variable, no open descriptor (the shell keeps its script
// close-on-exec and out of the way of redirections). `\command` passes by functions and aliases of the user's.

/** bash, or any shell that has only what POSIX asks for. */
export type Dialect = 'bash' | 'sh'

/** What a new shell takes over from the one before. */
export type SavedState = {
  cwd: string
  /** Options of `xv` that are on while code runs; between runs they are off, as their output would be ours. */
  traced: string
  /** Code that brings back the exported variables; absent when there are only those of the environment. */
  exports?: Buffer
  /** Code that brings back everything else that the shell could write down. */
  rest?: Buffer
  /** Something was too much to be kept. */
  isPartial: boolean
}

export type OpeningLine = {
  /** Begins the report, as nothing else that writes there can know it. */
  nonce: string
  /** The path of the pipe for reports. */
  report: string
  state: SavedState
  /** Where to be when the directory of the state cannot be entered. */
  fallbackCwd: string
  /** Names of the initial environment, which a saved state replaces. */
  initialNames: string[]
}

export type RunLine = {
  nonce: string
  report: string
  /** Paths of pipes. */
  stdout: string
  stderr: string
  code: string
  /** A private file with the code and a NUL byte behind it, when the code is not to go through the line. */
  codeFile?: string
  cwd?: string
  /** Variables to export before. */
  exports: Record<string, string>
  /** What `$?` is at the beginning. */
  status: number
  traced: string
  /** Whether to write down more than the exported variables. */
  saveAll: boolean
}

type Part = string | Buffer

/**
 * Exits with this when the shell cannot open what it needs: then it can neither run nor report. If a pipe is gone, to open it makes
 * a file in its place, which nobody reads: hence the tests.
 */
const OR_BREAK = '|| \\command exit 125; '
const SILENT = '>/dev/null 2>&1'
/** Where code from a file is for the moment before it runs. */
const CODE_VARIABLE = '__execd_code'

/** Writes NUL, the end of a field. */
const END_OF_FIELD = "\\command printf '\\0' >&3; "
const CWD_FIELD = `\\command pwd >&3; ${END_OF_FIELD}`

/** Options that change how code is read come before the functions, and those that can end a shell at the end. */
const STATE: Record<Dialect, string> = {
  bash: ['shopt -p', 'declare -p', 'declare -f', 'declare -F', 'alias -p', 'umask -p', 'trap -p', 'set +o']
    .map((command) => `\\command ${command} >&3; `)
    .join(''),
  sh: `\\command set >&3; \\command printf 'umask ' >&3; \\command umask >&3; \\command trap >&3; \\command set +o >&3; `,
}
const POSITIONAL_STATE: Record<Dialect, string> = {
  bash: `case $# in 0) ;; *) \\command printf 'set --' >&3; \\command printf ' %q' "$@" >&3; \\command printf '\\n' >&3;; esac; `,
  sh: '',
}

/** bash counts the lines of its script: the next is its first again, so that its errors tell lines of the code. */
const LINE_END: Record<Dialect, string> = {
  bash: `{ \\command :; } >/dev/null\${?:LINENO=0:0}\n`,
  sh: '\n',
}

/** Text or bytes as one word of any shell. */
export function quote(text: Part): Buffer {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text
  return Buffer.from(`'${bytes.toString('latin1').replaceAll("'", "'\\''")}'`, 'latin1')
}

/** Whether a shell can have a variable of this name. */
export function isVariableName(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)
}

/**
 * The first line of a shell: goes to its directory, brings back a state, and reports. Fields of the report: the nonce, the
 * directory.
 */
export function openingLine(dialect: Dialect, line: OpeningLine): Buffer {
  const { state } = line
  const names = line.initialNames.filter(isVariableName)
  const parts: Part[] = []
  if (dialect === 'bash') parts.push('\\command shopt -s expand_aliases; ')
  parts.push('\\command cd -- ', quote(state.cwd), ' || \\command cd -- ', quote(line.fallbackCwd))
  parts.push(' || \\command cd /; ')
  // Where the shell was started is nobody's business.
  parts.push('\\command unset -v OLDPWD; ')
  if (state.exports && names.length > 0) parts.push(`\\command unset -v ${names.join(' ')}; `)
  for (const code of [state.exports, state.rest])
    if (code) parts.push('\\command eval ', quote(code), ` ${SILENT}; `)
  parts.push(`{ \\command printf '%s\\0' ${line.nonce} >&3; ${CWD_FIELD}} 3>`, quote(line.report))
  parts.push(` ${SILENT} ${OR_BREAK}\\command exec </dev/null ${SILENT}; `, LINE_END[dialect])
  return join(parts)
}

/**
 * The line of one run. Fields of the report: the nonce, `$?`, `$-`, the directory, and afterwards the exported variables and the
 * rest of the state.
 */
export function runLine(dialect: Dialect, line: RunLine): Buffer {
  const report = quote(line.report)
  const parts: Part[] = []
  if (line.codeFile !== undefined) {
    const file = quote(line.codeFile)
    parts.push(`IFS= \\command read -rd '' ${CODE_VARIABLE} <`, file, ` ${OR_BREAK}>|`, file, '; ')
  }
  const stdout = quote(line.stdout)
  const stderr = quote(line.stderr)
  parts.push('\\command test -p ', stdout, ' -a -p ', stderr, ` ${OR_BREAK}`)
  parts.push('\\command exec </dev/null >', stdout, ' 2>', stderr, ` ${OR_BREAK}`)
  for (const [name, value] of Object.entries(line.exports))
    if (isVariableName(name)) parts.push(`\\command export ${name}=`, quote(value), '; ')
  if (line.cwd !== undefined) parts.push('\\command cd -- ', quote(line.cwd), ' && ')
  // As a condition, it triggers neither `set -e` nor a trap.
  const code: Part[] = ['\\command eval ', codeWord(line)]
  if (line.status === 0) parts.push(...code, '; ')
  else parts.push(`if (\\command exit ${line.status}); then :; else `, ...code, '; fi; ')
  parts.push(`{ \\command printf '%s\\0' ${line.nonce} "$?" "$-" >&3; \\command test -p `, report)
  parts.push(` ${OR_BREAK}${CWD_FIELD}\\command set +xv; } 3>`, report, ` ${SILENT} ${OR_BREAK}`)
  // From now on the run's output is held by those alone whom the code has left in the background.
  parts.push(`\\command exec </dev/null ${SILENT}; `)
  parts.push(`{ \\command export -p >&3; ${END_OF_FIELD}`)
  if (line.saveAll) parts.push(STATE[dialect], POSITIONAL_STATE[dialect])
  parts.push(`${END_OF_FIELD}} 3>`)
  parts.push(report, ` ${SILENT} ${OR_BREAK}`, LINE_END[dialect])
  return join(parts)
}

/** The word that is evaluated. What comes before the code stays on its first line. */
function codeWord({ code, codeFile, traced }: RunLine): Part {
  const before = traced === '' ? '' : `\\command set -${traced};`
  if (codeFile === undefined) return quote(before + code)
  return `"\\\\command unset -v ${CODE_VARIABLE};${before.replaceAll('\\', '\\\\')}$${CODE_VARIABLE}"`
}

function join(parts: Part[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)))
}
