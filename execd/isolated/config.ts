// The configuration of isolated sessions: a TOML file that EXECD_ISOLATION_CONFIG names (contract: execd.md 8.5). All
// problems are told at once, and a file that is wrong allows nothing: a list that was meant to be shorter must not be longer.

import { readFileSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { ISOLATION_DIR } from '../../lib/api/guest.ts'
import { messageOf, systemCodeOf } from '../../lib/errors.ts'
import { DENIED_CALLS, unknownCalls } from './seccomp.ts'

export type IsolationConfig = {
  /** Where sessions keep what they write to overlays. */
  upperRoot: string
  /** How much all of them may keep there; 0: no limit. */
  upperMaxBytes: number
  /** How much a diff may look through; 0: no limit. */
  diffMaxBytes: number
  /** Directories that a session may be given to write to beside its mounts. */
  allowedWritable: string[]
  /** The system calls that are refused. */
  deniedCalls: string[]
}

export const DEFAULT_CONFIG: IsolationConfig = {
  upperRoot: ISOLATION_DIR,
  upperMaxBytes: 8 * 2 ** 30,
  diffMaxBytes: 4 * 2 ** 30,
  allowedWritable: ['/workspace', '/mnt', '/media', '/data'],
  deniedCalls: [...DENIED_CALLS],
}

/** The configuration in the file at `path`; without a path or a file there, the defaults. Throws with all its problems. */
export async function loadIsolationConfig(path: string | undefined): Promise<IsolationConfig> {
  if (!path) return DEFAULT_CONFIG
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new Error(
      `Cannot read the isolation configuration "${path}": ${systemCodeOf(error) ?? messageOf(error)}`,
      {
        cause: error,
      },
    )
  }
  // Loaded here alone: most sandboxes have no such file.
  const { parse } = await import('smol-toml')
  let value: unknown
  try {
    value = parse(text)
  } catch (error) {
    throw new Error(
      `The isolation configuration "${path}" is not valid TOML: ${messageOf(error).split('\n')[0]}`,
      {
        cause: error,
      },
    )
  }
  const problems: string[] = []
  const config = readConfig(value as Record<string, unknown>, problems)
  if (problems.length > 0)
    throw new Error(`The isolation configuration "${path}" is wrong: ${problems.join('; ')}`)
  return config
}

const KEYS = ['upper_root', 'upper_max_bytes', 'diff_max_bytes', 'allowed_writable', 'seccomp']
/** Sections of other isolators that a file may have (contract: execd.md 12); they have no meaning here. */
const WITHOUT_MEANING = ['hardening', 'landlock', 'ebpf']

/** The configuration that a parsed file means; what is wrong with it goes to `problems`. */
function readConfig(file: Record<string, unknown>, problems: string[]): IsolationConfig {
  for (const key of Object.keys(file))
    if (!KEYS.includes(key) && !WITHOUT_MEANING.includes(key))
      problems.push(`unknown key "${key}": allowed are ${KEYS.join(', ')}`)
  const bytes = (key: string, fallback: number) => {
    const found = file[key]
    const number = typeof found === 'bigint' ? Number(found) : (found ?? fallback)
    if (typeof number === 'number' && Number.isSafeInteger(number) && number >= 0) return number
    problems.push(`"${key}" must be a number of bytes from 0 on: found ${JSON.stringify(found)}`)
    return fallback
  }
  const upperRoot = file.upper_root ?? DEFAULT_CONFIG.upperRoot
  // The options of a mount are separated by these, and `/` itself would hide the whole root.
  const isUsable = typeof upperRoot === 'string' && isAbsolute(upperRoot) && !/[,:\\\0]/.test(upperRoot)
  if (!isUsable || resolve(upperRoot) === '/')
    problems.push('"upper_root" must be an absolute path of a directory, without ",", ":" and "\\"')
  return {
    upperRoot: isUsable ? resolve(upperRoot) : DEFAULT_CONFIG.upperRoot,
    upperMaxBytes: bytes('upper_max_bytes', DEFAULT_CONFIG.upperMaxBytes),
    diffMaxBytes: bytes('diff_max_bytes', DEFAULT_CONFIG.diffMaxBytes),
    allowedWritable: readAllowed(file.allowed_writable, problems),
    deniedCalls: readDenied(file.seccomp, problems),
  }
}

function readAllowed(value: unknown, problems: string[]): string[] {
  if (value === undefined) return DEFAULT_CONFIG.allowedWritable
  if (isTexts(value) && value.every((path) => isAbsolute(path))) return value.map((path) => resolve(path))
  problems.push('"allowed_writable" must be a list of absolute paths')
  return []
}

function readDenied(value: unknown, problems: string[]): string[] {
  if (value === undefined) return DEFAULT_CONFIG.deniedCalls
  const deny = typeof value === 'object' && value !== null ? (value as { deny?: unknown }).deny : null
  if (deny === undefined) return DEFAULT_CONFIG.deniedCalls
  if (!isTexts(deny)) {
    problems.push('"seccomp.deny" must be a list of names of system calls')
    return DEFAULT_CONFIG.deniedCalls
  }
  const unknown = unknownCalls(deny)
  if (unknown.length > 0)
    problems.push(`"seccomp.deny" has names of no system call: ${unknown.slice(0, 10).join(', ')}`)
  return deny
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
