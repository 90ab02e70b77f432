// Starting a process as the leader of its own session and process group. What a child gets is named in full: its
// environment, its user, its output. Nothing of execd's own leaks into it.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, writeFileSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { systemCodeOf } from '../../lib/errors.ts'
import { type EndOptions, endGroup, signalGroup } from './end.ts'
import type { Pipe, PipeStock } from './pipes.ts'
import { explainStartFailure } from './program.ts'

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
}

/** How a process ended: `exitCode` is -1 when a signal ended it. */
export type ProcessEnd = { exitCode: number; signal?: NodeJS.Signals }

export type RunningProcess = {
  pid: number
  stdout: Readable
  /** Absent when both go into one pipe; present all the same when there was no pipe to be had. */
  stderr?: Readable
  ended: Promise<ProcessEnd>
  hasEnded(): boolean
  signal(name: NodeJS.Signals): boolean
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
  /** Written to each child's `oom_score_adj`, so that the kernel takes it before execd. */
  oomScoreAdj: number
  /** The program that sets supplementary groups, with its first arguments: Node can only drop them. */
  setpriv: string[]
}

/** Starts a process. Rejects with StartError when it cannot be executed. */
export async function startProcess(starter: ProcessStarter, spec: ProcessSpec): Promise<RunningProcess> {
  const out = await starter.pipes.take(spec.user)
  const err = spec.output === 'separate' ? await starter.pipes.take(spec.user) : undefined
  const child = spawnOn(withGroups(spec, starter.setpriv), out, err)
  if (child.pid === undefined) {
    // Their writers are closed, so they end at once and go back to the stock.
    out?.read.resume()
    err?.read.resume()
    const error = await new Promise<unknown>((resolve) => child.once('error', resolve))
    throw startError(spec, error)
  }
  // A failing `kill` or `send` would be told here as well; we use neither.
  child.on('error', () => {})
  setOomScore(child.pid, starter.oomScoreAdj)
  return runningProcess(child, child.pid, out, err)
}

/** The same process started by `setpriv`, when its user has groups beside the primary one. */
function withGroups(spec: ProcessSpec, setpriv: string[]): ProcessSpec {
  const { uid, gid, groups = [] } = spec.user
  if (groups.length === 0 || process.getuid?.() !== 0) return spec
  const ids = [`--reuid=${uid}`, `--regid=${gid}`, `--groups=${groups.join(',')}`]
  const argv = [...setpriv, ...ids, '--', spec.path, ...spec.argv.slice(1)]
  return { ...spec, path: setpriv[0] ?? '', argv, user: { uid: 0, gid: 0 } }
}

function spawnOn(spec: ProcessSpec, out: Pipe | undefined, err: Pipe | undefined): ChildProcess {
  const stdout = out?.writeFd ?? 'pipe'
  const stderr = spec.output === 'merged' ? (out?.writeFd ?? 'pipe') : (err?.writeFd ?? 'pipe')
  const isRoot = process.getuid?.() === 0
  try {
    return spawn(spec.path, spec.argv.slice(1), {
      argv0: spec.argv[0],
      cwd: spec.cwd,
      env: spec.env,
      stdio: ['ignore', stdout, stderr],
      detached: true,
      ...(isRoot ? { uid: spec.user.uid, gid: spec.user.gid } : {}),
    })
  } catch (error) {
    out?.read.resume()
    err?.read.resume()
    throw startError(spec, error)
  } finally {
    if (out) closeSync(out.writeFd)
    if (err) closeSync(err.writeFd)
  }
}

function runningProcess(
  child: ChildProcess,
  pid: number,
  out: Pipe | undefined,
  err: Pipe | undefined,
): RunningProcess {
  let hasEnded = false
  const ended = new Promise<ProcessEnd>((resolve) =>
    child.once('exit', (code, signal) => {
      hasEnded = true
      resolve(signal === null ? { exitCode: code ?? -1 } : { exitCode: -1, signal })
    }),
  )
  const stdout = out?.read ?? child.stdout
  const stderr = err?.read ?? child.stderr
  if (!stdout) throw new Error(`Process ${pid} has no output stream`)
  return {
    pid,
    stdout,
    ...(stderr ? { stderr } : {}),
    ended,
    hasEnded: () => hasEnded,
    signal: (name) => signalGroup(pid, name),
    end: (options) => endGroup(pid, options),
  }
}

function startError(spec: ProcessSpec, error: unknown): StartError {
  const code = systemCodeOf(error)
  const message = explainStartFailure(spec.path, code)
  return new StartError(message, code === 'ENOENT' ? 127 : 126, { cause: error })
}

function setOomScore(pid: number, score: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(score))
  } catch {
    // It has ended already, or the kernel does not let us: then it is as likely a victim as any other.
  }
}
