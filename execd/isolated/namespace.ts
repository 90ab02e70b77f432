// Starting a process in namespaces of its own, by bubblewrap. Where execd may not mount (no sandbox has
// CAP_SYS_ADMIN), it first makes a user namespace, mapped one to one onto the ids that the sandbox has, and is root in that
// (docs/decisions/isolated-sessions.md). Overlays are mounted before bubblewrap runs, in the same mount namespace, because
// the bubblewrap of most distributions cannot (I7); they go when the last process of the session does.

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Duplex, Readable } from 'node:stream'
import { messageOf } from '../../lib/errors.ts'
import type { ProcessEnd, ProcessStarter } from '../command/process.ts'
import { withScoreOfChildren } from '../oom.ts'
import { assetPath, hostProgram } from '../runtime-dir.ts'
import type { Layers } from './layers.ts'
import { signalProcess } from './processes.ts'

const START_TIMEOUT_MS = 15_000
const MAX_COMPLAINT_BYTES = 4096
const CAP_SYS_ADMIN = 21n

// Descriptors that the new process begins with.
const GATE = 3
const INFO = 4
const FILTER = 5
const OPTIONS = 6
/** A socket to us that the command keeps. */
export const CHANNEL = 7

export type NamespaceSpec = {
  /** The program `bwrap` with its first arguments. */
  bwrap: string[]
  options: string[]
  filter: Buffer
  overlays: { source: string; layers: Layers }[]
  /** What runs inside. */
  command: string[]
  /** A directory of ours, for files that are open for a moment. */
  dir: string
  /** Variables that bubblewrap itself carries, and the command does not. */
  env: Record<string, string>
  oomScores?: ProcessStarter['oomScores']
  /** Whether the command gets a socket to us as its descriptor CHANNEL. */
  hasChannel: boolean
}

export type Namespace = {
  /** The first process inside; when it is killed, the kernel ends all of the session. */
  initPid: number
  /** The process outside that waits for it, in the user namespace that the mounts belong to. */
  outerPid: number
  /** Our end of the socket, when one was asked for. */
  channel?: Duplex
  ended: Promise<ProcessEnd>
  /** What bubblewrap and the shell that prepares for it said. */
  complaint(): string
  /** Ends every process of the session at once. */
  kill(): void
}

/** It could not be made; the message says why in the words of the program that failed. */
export class NamespaceError extends Error {}

/** Whether execd may make namespaces without a user namespace around them. */
export function canMount(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]
  return ((BigInt(`0x${effective ?? '0'}`) >> CAP_SYS_ADMIN) & 1n) === 1n
}

/** Makes the namespaces and starts the command in them. Rejects with NamespaceError. */
export async function openNamespace(spec: NamespaceSpec): Promise<Namespace> {
  const isDirect = canMount()
  const filter = openTemporary(join(spec.dir, 'filter'), spec.filter)
  const options = openTemporary(join(spec.dir, 'options'), `${spec.options.join('\0')}\0`)
  let child: ChildProcess
  try {
    child = start(spec, isDirect, [filter, options])
  } finally {
    closeSync(filter)
    closeSync(options)
  }
  let hasEnded = false
  const ended = new Promise<ProcessEnd>((resolve) => {
    const end = (how: ProcessEnd) => {
      hasEnded = true
      resolve(how)
    }
    child.once('exit', (code, signal) =>
      end(signal === null ? { exitCode: code ?? -1 } : { exitCode: -1, signal }),
    )
    child.on('error', () => end({ exitCode: -1 }))
  })
  const complaint = collect([child.stdout, child.stderr])
  const over = new AbortController()
  const timer = setTimeout(() => over.abort(), START_TIMEOUT_MS)
  void ended.then(() => over.abort())
  const gate = child.stdio[GATE] as Duplex
  const info = child.stdio[INFO] as Readable
  gate.on('error', () => {})
  try {
    const { pid } = child
    if (pid === undefined) throw await new Promise((resolve) => child.once('error', resolve))
    if (!isDirect) {
      await firstData(gate, over.signal)
      mapIds(pid)
      gate.write('\n')
    }
    const initPid = parseInfo(await firstData(info, over.signal))
    return {
      initPid,
      outerPid: pid,
      ...(spec.hasChannel ? { channel: (child.stdio as unknown[])[CHANNEL] as Duplex } : {}),
      ended,
      complaint,
      kill: () => {
        // Afterwards the number may be someone else's.
        if (!hasEnded) signalProcess(initPid, 'SIGKILL')
      },
    }
  } catch (error) {
    child.kill('SIGKILL')
    await ended
    throw new NamespaceError(complaint() || messageOf(error), { cause: error })
  } finally {
    clearTimeout(timer)
    gate.end()
    // There is more to come that nobody asks for.
    info.resume()
  }
}

/**
 * The command that runs another one with the files of a session, out of sight of its processes: in a mount namespace like the
 * session's, with a /proc of its own, in which it is alone.
 */
export function enterCommand({ initPid, outerPid }: Pick<Namespace, 'initPid' | 'outerPid'>): string[] {
  return [
    ...hostProgram('nsenter'),
    ...(canMount() ? [] : [`--user=/proc/${outerPid}/ns/user`, '--preserve-credentials']),
    `--mount=/proc/${initPid}/ns/mnt`,
    '--',
    ...hostProgram('unshare'),
    ...['--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--'],
  ]
}

function start(spec: NamespaceSpec, isDirect: boolean, [filter = 0, options = 0]: number[]): ChildProcess {
  const [program = '', ...args] = [
    ...hostProgram('unshare'),
    ...(isDirect ? [] : ['--user', '--keep-caps']),
    ...['--mount', '--propagation', 'private', '--'],
    ...[...hostProgram('dash'), assetPath('isolate.sh'), isDirect ? 'own' : 'new'],
    ...spec.overlays.flatMap(({ source, layers }) => [
      source,
      layers.lower,
      layers.upper,
      layers.work,
      layers.merged,
    ]),
    '--',
    ...spec.bwrap,
    ...['--args', String(OPTIONS), '--seccomp', String(FILTER), '--info-fd', String(INFO)],
    '--',
    ...spec.command,
  ]
  // In the order of the numbers: input, output, errors, GATE, INFO, FILTER, OPTIONS, CHANNEL.
  const channel = spec.hasChannel ? ['pipe' as const] : []
  const stdio: SpawnOptions['stdio'] = [
    ...['ignore' as const, 'pipe' as const, 'pipe' as const, 'pipe' as const, 'pipe' as const],
    ...[filter, options],
    ...channel,
  ]
  const env = {
    PATH: '/usr/bin:/bin',
    ...spec.env,
    ISOLATE_MOUNT: hostProgram('mount').join(' '),
  }
  return withScoreOfChildren(spec.oomScores, () =>
    spawn(program, args, { cwd: '/', detached: true, env, stdio }),
  )
}

/** Maps every id that the sandbox has onto itself, so that owners of files are the same on both sides. */
function mapIds(pid: number): void {
  for (const kind of ['uid_map', 'gid_map']) {
    const own = readFileSync(`/proc/self/${kind}`, 'latin1')
    const lines = [...own.matchAll(/^\s*(\d+)\s+\d+\s+(\d+)\s*$/gm)].map(
      ([, first, count]) => `${first} ${first} ${count}\n`,
    )
    // The kernel takes a map in one write.
    writeFileSync(`/proc/${pid}/${kind}`, lines.join(''))
  }
}

function parseInfo(text: string): number {
  const pid = Number(/"child-pid":\s*(\d+)/.exec(text)?.[1])
  if (!(pid > 1)) throw new Error(`bubblewrap did not say what it started: ${text.slice(0, 200)}`)
  return pid
}

/** A file without a name, open for reading from its start. */
function openTemporary(path: string, content: string | Buffer): number {
  writeFileSync(path, content, { mode: 0o600 })
  const fd = openSync(path, 'r')
  rmSync(path)
  return fd
}

/** The first piece of a stream, which a program writes as a whole. */
function firstData(stream: Readable, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = () => reject(new Error('It ended or took too long before it was ready'))
    if (signal.aborted) fail()
    signal.addEventListener('abort', fail, { once: true })
    stream.once('data', (chunk: Buffer) => {
      signal.removeEventListener('abort', fail)
      resolve(chunk.toString('latin1'))
    })
    stream.on('error', fail)
  })
}

function collect(streams: (Readable | null)[]): () => string {
  let text = ''
  for (const stream of streams)
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text = (text + chunk).slice(-MAX_COMPLAINT_BYTES)
    })
  return () => text.trim()
}
