// Starting a process as the leader of its own session and process group. What a child gets is named in full: its
// environment, its user, its output. Nothing of execd's own leaks into it.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import type { Duplex, Readable, Writable } from 'node:stream'
import { systemCodeOf } from '../../lib/errors.ts'
import { withScoreOfChildren } from '../oom.ts'
import { type EndOptions, endGroup } from './end.ts'
import type { Pipe, PipeStock } from './pipes.ts'
import { readProcess } from './process-table.ts'
import { explainStartFailure } from './program.ts'
import type { Spawner } from './spawner.ts'

/** Numbers of a user; `groups` are the supplementary ones. */
export type UserIds = { uid: number; gid: number; groups?: number[] }

export type ProcessSpec = {
  /** The program as an absolute path. */
  path: string
  /** All its arguments; the first is the name that it sees itself by. */
  argv: string[]
  cwd: string
  env: Record<string, string>
  user: UserIds
  /** `merged`: both streams into one pipe, in the order of writing. */
  output: 'separate' | 'merged'
  /** Whether we write its input; else it has none. */
  input?: boolean
  /** Whether it gets a socket to us as its descriptor 3. */
  channel?: boolean
}

/** How a process ended: `exitCode` is -1 when a signal ended it. */
export type ProcessEnd = {
  exitCode: number
  signal?: NodeJS.Signals
  /** Nobody saw how: it was started by an earlier life of execd. Then the code means nothing. */
  isUnseen?: true
}

export type RunningProcess = {
  pid: number
  /** With `pid` the name of this very process (process-table.ts); -1 when the kernel does not say. */
  startTime: number
  /** The pipes of its output by their names in the stock. */
  pipes: string[]
  /** Its input, when that was asked for. */
  stdin?: Writable
  stdout: Readable
  /** Absent when both go into one pipe; present all the same when there was no pipe to be had. */
  stderr?: Readable
  /** Our end of the socket, when one was asked for. */
  channel?: Duplex
  ended: Promise<ProcessEnd>
  /** Ends it and its whole group. */
  end(options: EndOptions): Promise<void>
}

/** The program could not be started; the message is for the caller, the code for `exit.json`. */
export class StartError extends Error {
  readonly exitCode: number
  constructor(message: string, exitCode: number, options: { cause?: unknown } = {}) {
    super(message, options)
    this.name = 'StartError'
    this.exitCode = exitCode
  }
}

export type ProcessStarter = {
  pipes: PipeStock
  /** Starts what it can at a fraction of the cost; the rest is for Node. */
  spawner: Spawner
  /** How likely a victim each is when memory runs out; absent when the kernel lets us say nothing. */
  oomScores?: { own: number; children: number }
  /** The program that sets supplementary groups, with its first arguments: Node can only drop them. */
  setpriv: string[]
  /** The program that adds variables to an environment, with its first arguments. */
  envProgram: string[]
}

/**
 * What a program's loader and C library obey before it runs (ld.so(8)). `setpriv` begins as root, so it must not get those of a
 * user who could thereby become root; they are added once it has become that user.
 */
const LOADER_VARIABLE = /^(LD_|MALLOC_|GLIBC_TUNABLES$|GCONV_PATH$|GETCONF_DIR$|LOCPATH$|NLSPATH$)/

/** Starts a process. Rejects with StartError when it cannot be executed. */
export async function startProcess(starter: ProcessStarter, spec: ProcessSpec): Promise<RunningProcess> {
  const out = starter.pipes.take(spec.user)
  const err = spec.output === 'separate' ? starter.pipes.take(spec.user) : undefined
  try {
    const started = await start(withGroups(spec, starter), starter, out, err)
    const { pid } = started
    return {
      ...started,
      startTime: readProcess(pid)?.startTime ?? -1,
      pipes: [out?.name, err?.name].filter((name) => name !== undefined),
      end: (options) => endGroup(pid, options),
    }
  } catch (error) {
    // Their writers are closed, so they end at once and go back to the stock.
    out?.read.resume()
    err?.read.resume()
    throw startError(spec, error)
  }
}

type Started = Omit<RunningProcess, 'startTime' | 'pipes' | 'end'>

async function start(
  spec: ProcessSpec,
  { spawner, oomScores }: ProcessStarter,
  out: Pipe | undefined,
  err: Pipe | undefined,
): Promise<Started> {
  let begun: Started | ChildProcess
  try {
    begun = withScoreOfChildren(
      oomScores,
      () => spawnLightly(spec, spawner, out, err) ?? spawnByNode(spec, out, err),
    )
  } finally {
    if (out) closeSync(out.writeFd)
    if (err) closeSync(err.writeFd)
  }
  return 'stdio' in begun ? startedByNode(begun, out, err) : begun
}

/** The same process started by `setpriv`, when its user has groups beside the primary one. */
function withGroups(spec: ProcessSpec, { setpriv, envProgram }: ProcessStarter): ProcessSpec {
  const { uid, gid, groups = [] } = spec.user
  if (groups.length === 0 || process.getuid?.() !== 0) return spec
  const ids = [`--reuid=${uid}`, `--regid=${gid}`, `--groups=${groups.join(',')}`]
  const { own, others } = splitLoaderVariables(spec.env)
  const adding = own.length > 0 ? [...envProgram, ...own] : []
  const argv = [...setpriv, ...ids, '--', ...adding, spec.path, ...spec.argv.slice(1)]
  return { ...spec, path: setpriv[0] ?? '', argv, env: others, user: { uid: 0, gid: 0 } }
}

function splitLoaderVariables(env: Record<string, string>): {
  own: string[]
  others: Record<string, string>
} {
  const own: string[] = []
  const others: Record<string, string> = {}
  for (const [name, value] of Object.entries(env)) {
    if (LOADER_VARIABLE.test(name)) own.push(`${name}=${value}`)
    else others[name] = value
  }
  return { own, others }
}

/** Undefined when it is for Node to do. */
function spawnLightly(
  spec: ProcessSpec,
  spawner: Spawner,
  out: Pipe | undefined,
  err: Pipe | undefined,
): Started | undefined {
  const { path, argv, cwd, env, user, output } = spec
  if (!out || (output === 'separate' && !err) || spec.input || spec.channel || !isOurselves(user))
    return undefined
  // Node refuses what the C library would take for the end of a text.
  if ([cwd, ...argv, ...Object.entries(env).flat()].some((text) => text.includes('\0'))) return undefined
  try {
    const streams = { stdout: out.writeFd, stderr: err?.writeFd ?? out.writeFd }
    const spawned = spawner.spawn({ path, argv, cwd, env, ...streams })
    return { ...spawned, stdout: out.read, ...(err && { stderr: err.read }) }
  } catch (error) {
    // A script that does not name its interpreter: Node gives it to a shell, as every shell does.
    if (systemCodeOf(error) === 'ENOEXEC') return undefined
    throw error
  }
}

/** Whether a process of this user is one of ours, with no group that must be given up. */
function isOurselves({ uid, gid }: UserIds): boolean {
  // Who is not root cannot change the user anyway.
  if (process.getuid?.() !== 0) return true
  return (
    uid === 0 && gid === process.getgid?.() && (process.getgroups?.() ?? []).every((group) => group === gid)
  )
}

function spawnByNode(spec: ProcessSpec, out: Pipe | undefined, err: Pipe | undefined): ChildProcess {
  const stdout = out?.writeFd ?? 'pipe'
  const stderr = spec.output === 'merged' ? stdout : (err?.writeFd ?? 'pipe')
  const isRoot = process.getuid?.() === 0
  return spawn(spec.path, spec.argv.slice(1), {
    argv0: spec.argv[0],
    cwd: spec.cwd,
    env: spec.env,
    stdio: [spec.input ? 'pipe' : 'ignore', stdout, stderr, ...(spec.channel ? (['pipe'] as const) : [])],
    detached: true,
    ...(isRoot ? { uid: spec.user.uid, gid: spec.user.gid } : {}),
  })
}

async function startedByNode(
  child: ChildProcess,
  out: Pipe | undefined,
  err: Pipe | undefined,
): Promise<Started> {
  const { pid } = child
  if (pid === undefined) throw await new Promise((resolve) => child.once('error', resolve))
  // A failing `kill` or `send` would be told here; we use neither.
  child.on('error', () => {})
  const ended = new Promise<ProcessEnd>((resolve) =>
    child.once('exit', (code, signal) => {
      resolve(signal === null ? { exitCode: code ?? -1 } : { exitCode: -1, signal })
    }),
  )
  const stdout = out?.read ?? child.stdout
  const stderr = err?.read ?? child.stderr
  if (!stdout) throw new Error(`Process ${pid} has no output stream`)
  // Node makes it a socket, which its types do not know.
  const channel = child.stdio[3] as Duplex | undefined
  return {
    pid,
    ...(child.stdin ? { stdin: child.stdin } : {}),
    stdout,
    ...(stderr ? { stderr } : {}),
    ...(channel ? { channel } : {}),
    ended,
  }
}

function startError(spec: ProcessSpec, error: unknown): StartError {
  const code = systemCodeOf(error)
  const message = explainStartFailure(spec.path, code)
  return new StartError(message, code === 'ENOENT' ? 127 : 126, { cause: error })
}
