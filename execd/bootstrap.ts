// What the sandbox's environment asks of its start (contract: execd.md 10.3): a script whose exports reach the entrypoint and every
// command, and another command in place of the entrypoint.

import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { resolve } from 'node:path'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { signalGroup } from './command/end.ts'
import type { Journal } from './command/journal.ts'
import { StartError, type UserIds } from './command/process.ts'
import { findShell } from './command/program.ts'
import { hostProgram } from './runtime-dir.ts'

/** Less than a runtime waits for a sandbox to become ready: a script that hangs is no reason to have none. */
const SCRIPT_TIMEOUT_MS = 15_000
const MAX_EXPORTS_BYTES = 4 << 20
/** Behind the exports: without it they are not all. */
const LAST_LINE = 'end of exports'
/** What a shell sets for itself. */
const OF_THE_SHELL = ['PWD', 'OLDPWD', 'SHLVL', '_']

export type PreScriptOptions = { workdir: string; user: UserIds; output: Journal; log: Logger }

/**
 * Sources the script that `EXECD_BOOTSTRAP_PRE_SCRIPT` names, if any, and gives the environment that it leaves. Whatever goes wrong
 * is a warning. The shell is ours, so that an image without one can have a script too.
 */
export async function runPreScript(
  env: Record<string, string>,
  { workdir, user, output, log }: PreScriptOptions,
): Promise<Record<string, string>> {
  if (!env.EXECD_BOOTSTRAP_PRE_SCRIPT) return env
  const path = resolve(workdir, env.EXECD_BOOTSTRAP_PRE_SCRIPT)
  try {
    accessSync(path, constants.R_OK)
    const exports = parseExports(await source(path, env, user, output))
    for (const name of OF_THE_SHELL) delete exports[name]
    return { ...exports, ...pick(env, OF_THE_SHELL) }
  } catch (error) {
    log.warn('the script of EXECD_BOOTSTRAP_PRE_SCRIPT has no effect', { path, error: messageOf(error) })
    return env
  }
}

/** The program to start and its arguments. Throws StartError when a shell is needed and there is none. */
export function bootstrapArgv(argv: string[], env: Record<string, string>, cwd: string): string[] {
  const line = env.BOOTSTRAP_CMD ? [env.BOOTSTRAP_CMD] : argv[0] === '-c' ? argv.slice(1) : undefined
  if (!line) return argv
  if (env.BOOTSTRAP_SHELL) return [env.BOOTSTRAP_SHELL, '-c', ...line]
  const shell = findShell(env.PATH, cwd)
  if (!shell.ok) throw new StartError(`Entrypoint: ${shell.message}`, 1)
  return [shell.path, '-c', ...line]
}

/** Reads what dash's `export -p` writes: a value is a row of texts in single quotes, and of single quotes in double ones. */
export function parseExports(text: string): Record<string, string> {
  const found: Record<string, string> = {}
  const entry = /^export ([A-Za-z_][A-Za-z0-9_]*)=((?:'[^']*'|"'+")*)$/gm
  for (const [, name = '', quoted = ''] of text.matchAll(entry))
    found[name] = quoted.replace(
      /'([^']*)'|"('+)"/g,
      (_, literal?: string, quotes?: string) => literal ?? quotes ?? '',
    )
  return found
}

async function source(
  path: string,
  env: Record<string, string>,
  user: UserIds,
  output: Journal,
): Promise<string> {
  const [program = '', ...args] = hostProgram('dash')
  // What the script starts does not get the channel of its exports, and cannot keep it open.
  const line = `. '${path.replaceAll("'", `'"'"'`)}' 3>&-\nexport -p >&3\necho ${LAST_LINE} >&3`
  const child = spawn(program, [...args, '-c', line], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env,
    cwd: '/',
    detached: true,
    ...(process.getuid?.() === 0 ? { uid: user.uid, gid: user.gid } : {}),
  })
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    if (child.pid !== undefined) signalGroup(child.pid, 'SIGKILL')
  }, SCRIPT_TIMEOUT_MS)
  const chunks: Buffer[] = []
  let bytes = 0
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => output.append(chunk)).on('error', () => {})
  const exports = child.stdio[3]
  exports?.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes <= MAX_EXPORTS_BYTES) chunks.push(chunk)
  })
  exports?.on('error', () => {})
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', () => resolve())
  })
  const closed = new Promise((resolve) => exports?.once('close', resolve))
  try {
    await ended
    await closed
  } finally {
    clearTimeout(timer)
  }
  const text = Buffer.concat(chunks).toString('utf8')
  if (text.endsWith(`\n${LAST_LINE}\n`)) return text.slice(0, -LAST_LINE.length - 1)
  if (isLate) throw new Error(`it did not end within ${SCRIPT_TIMEOUT_MS / 1000} seconds`)
  throw new Error(`it ended its shell: ${child.signalCode ?? child.exitCode}`)
}

function pick(env: Record<string, string>, names: string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => names.includes(name)))
}
