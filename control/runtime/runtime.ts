// The port behind which sandboxes really run. Control decides what should exist and writes it down first; a
// runtime makes it so, reports what is, and keeps no intent of its own. Every call may be repeated: removing twice is fine,
// and a create that fails or is interrupted leaves nothing that `list` does not show and `remove` does not clear.

import type { NetworkPolicy } from '../../lib/api/network-policy.ts'
import type { ImageRequest, Images } from './images.ts'
import type { Snapshots } from './snapshots.ts'
import type { VolumeMount, Volumes } from './volumes.ts'

export type RuntimeSpec = {
  id: string
  /** Whose it is: what has to wait for its turn waits behind others of the same tenant, not behind all. */
  tenant?: string
  image: ImageRequest
  /** It is made from this snapshot; `image` tells what that was taken on top of. */
  snapshotId?: string
  /** What the user asked to run, never empty. */
  entrypoint: string[]
  /** The user's variables, and execd's hooks (lib/api/lifecycle-hooks.ts); the image's own stand below them. */
  env: Record<string, string>
  limits: {
    /** Billionths of a CPU per second: 500_000_000 is half of one. */
    nanoCpus?: number
    memoryBytes?: number
    /** What the sandbox may write to its own file system. */
    diskBytes?: number
    /** How many GPUs it sees; -1 for all. */
    gpus?: number
  }
  networkPolicy?: NetworkPolicy
  /** Its requests may be read on their way: it has to trust egress's authority for it before anything of its user's runs. */
  credentialProxy?: boolean
  /** Host directories to bind, by their real paths, already checked against the operator's list. */
  mounts: { source: string; target: string; readOnly: boolean }[]
  /** Named volumes; only where the runtime has `volumes`. */
  volumes?: VolumeMount[]
  /** Whether processes may make namespaces of their own, as isolated sessions need (docs/decisions/isolated-sessions.md). */
  allowNamespaces: boolean
  /** The secret of execd in this sandbox. */
  execdToken: string
  /** The secret of this sandbox's policy API. */
  egressToken: string
}

export const RUNTIME_STATES = ['incomplete', 'running', 'paused', 'exited'] as const
/** `incomplete`: a create that was interrupted left something behind; only `remove` helps. */
export type RuntimeState = (typeof RUNTIME_STATES)[number]

export type RuntimeSandbox = {
  id: string
  state: RuntimeState
  /** The address that the gateway connects to, while running or paused. */
  address?: string
  /** Known once it has exited: the entrypoint's code, or 128 + signal number. */
  exitCode?: number
  /** Why it ended, in words for a person, such as "killed: out of memory". */
  message?: string
  /** What its registry calls the image that it was made of; told by `create` alone. */
  imageDigest?: string
}

export type RuntimeEvent =
  | { type: 'exited'; sandbox: RuntimeSandbox }
  /** Somebody has paused it, or let it go on, perhaps not this program: what it is now is to be asked. */
  | { type: 'changed'; id: string }
  /** The runtime was out of sight and is back: anything may have happened meanwhile. */
  | { type: 'returned' }

export const RUNTIME_FAILURES = [
  'image_not_found', // no such image by any way there is
  'image_denied', // the registry wants a login, or refuses the one that was given
  'registry_failed', // the registry cannot be reached, or broke off
  'image_pull_failed', // the image cannot be fetched or unpacked for another reason
  'image_too_large', // the image is larger than the operator allows
  'platform_mismatch', // the image is for another architecture
  'entrypoint_failed', // the image lacks the program, or it cannot be executed
  'hook_failed', // what the user asked to run before the entrypoint did not end well
  'start_failed', // the OCI runtime, the network or execd did not come up
  'no_space', // the disk is full
  'host_path_refused', // a host directory is not any more what it was when it was checked
  'sub_path_refused', // a path within a named volume leads out of it, or is no directory
  'snapshot_unsupported', // this sandbox, or this runtime, has no files that could be kept
  'in_use',
  'unavailable', // what runs the sandboxes does not answer now
  'unsupported', // this runtime, or this machine, does not have what is asked for
  'not_found',
  'not_running',
  'not_paused',
] as const
export type RuntimeFailure = (typeof RUNTIME_FAILURES)[number]

/** An expected failure of a runtime; the message is written for the API's caller. */
export class RuntimeError extends Error {
  readonly failure: RuntimeFailure
  constructor(failure: RuntimeFailure, message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'RuntimeError'
    this.failure = failure
  }
}

/** What there is to limit and to give here. Where something cannot be held at all, a text says why, for the API's caller. */
export type Abilities = {
  /** CPUs of the machine. */
  cpus: number
  memoryBytes: number
  /** The largest `diskBytes` that can be held. */
  disk: number | string
  gpus: 'any' | string
}

/** What a create goes through, in this order; a runtime may leave some out. */
export const CREATE_PHASES = [
  'image', // fetched and unpacked, or found
  'root', // its root file system is mounted
  'start', // its first process runs
  'network', // connected, with its policy in force
  'ready', // execd answers and the entrypoint was started
] as const
export type CreatePhase = (typeof CREATE_PHASES)[number]

/** Who wants to know how far a create is. */
export type CreateWatch = {
  phaseDone?(phase: CreatePhase): void
  /** How far the image is while it is fetched, in words for the API's caller; every second or so. */
  progress?(message: string): void
}

export type Runtime = {
  readonly name: string
  /** False where `pause` and `resume` can only fail. */
  readonly canPause?: boolean
  /** Who the root of sandboxes is on this machine; root when absent. */
  readonly rootOwner?: { uid: number; gid: number }
  /** What of `limits` can be held; everything when absent. */
  readonly abilities?: Abilities
  /** Absent where there are no named volumes. */
  readonly volumes?: Volumes
  /** Absent where images are somebody else's business. */
  readonly images?: Images
  /** Absent where no snapshots can be taken. */
  readonly snapshots?: Snapshots
  /**
   * Makes and starts a sandbox; resolves once its execd accepts connections and the entrypoint has been started. When it
   * rejects, with RuntimeError or the signal's reason, nothing of the sandbox is left.
   */
  create(spec: RuntimeSpec, signal: AbortSignal, watch?: CreateWatch): Promise<RuntimeSandbox>
  pause(id: string, signal: AbortSignal): Promise<void>
  resume(id: string, signal: AbortSignal): Promise<void>
  /**
   * Gives back what a paused sandbox has in memory and can read again from files. Resolves to the bytes that it keeps, or undefined when
   * nobody knows. Absent where there is no such way.
   */
  reclaim?(id: string): Promise<number | undefined>
  /** TERM to the entrypoint, KILL after `graceMs`, then everything of it goes: mounts, network, cgroup, rules, files. */
  remove(id: string, options: { graceMs: number }, signal: AbortSignal): Promise<void>
  inspect(id: string, signal: AbortSignal): Promise<RuntimeSandbox | undefined>
  /** Everything that exists, `incomplete` ones too. */
  list(signal: AbortSignal): Promise<RuntimeSandbox[]>
  /** At most the last `maxBytes` of what the entrypoint has written; undefined when there is nothing of it. */
  logs(id: string, options: { maxBytes: number }, signal: AbortSignal): Promise<Uint8Array | undefined>
  /** What happens to sandboxes without this program, from now until the signal aborts. */
  watch(signal: AbortSignal): AsyncIterable<RuntimeEvent>
  /** Gives back what all sandboxes share on the machine, when none is left. Called once nothing else is under way. */
  close(): Promise<void>
}
