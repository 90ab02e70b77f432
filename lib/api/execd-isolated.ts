// The wire of isolated sessions (contract: execd.md 8, v1.1.md 2.4). Plain types: what a request must be is checked where it
// is read (execd/isolated/request.ts).

/** The header that carries the position after a part of a background run's log. */
export const ISOLATED_TAIL_CURSOR_HEADER = 'EXECD-ISOLATED-TAIL-CURSOR'

export const MOUNT_MODES = ['rw', 'overlay', 'ro'] as const
export type MountMode = (typeof MOUNT_MODES)[number]

/** `minimal` is an addition: nothing of the root but programs, libraries and public parts of /etc. */
export const PROFILES = ['strict', 'balanced', 'minimal'] as const
export type Profile = (typeof PROFILES)[number]

export const UID_MODES = ['setpriv', 'userns'] as const
export type UidMode = (typeof UID_MODES)[number]

export const SESSION_STATES = ['active', 'dead', 'destroyed'] as const
export type IsolatedSessionStatus = (typeof SESSION_STATES)[number]

export const LAYER_STATES = ['active', 'disabled', 'degraded', 'unsupported'] as const
export type LayerState = { state: (typeof LAYER_STATES)[number]; message?: string }

/** `GET /v1/isolated/capabilities`. */
export type IsolatedCapabilities = {
  available: boolean
  isolator: 'bwrap'
  version?: string
  /** Why something of it is not available. */
  message?: string
  setpriv_available: boolean
  userns_available: boolean
  diff_supported: boolean
  commit_supported: boolean
  /** An addition: whether the mode `overlay` of a mount can be used. */
  overlay_supported: boolean
  hardening: {
    init_mode: 'pid1' | 'subreaper' | 'none'
    signal_shield: boolean
    cap_drop: LayerState
    seccomp: LayerState
    landlock: LayerState
    ebpf: LayerState
  }
}

/** What a session was created with, given back by `GET /v1/isolated/session/{id}`. */
export type SessionParameters = {
  profile: Profile
  /** Only of a session that has this one mount alone. */
  workspace?: { path: string; mode: MountMode }
  overlays: { path: string; mode: MountMode; persist?: boolean }[]
  extra_writable: string[]
  binds: { source: string; dest: string; readonly: boolean }[]
  share_net: boolean
  env_passthrough?: { mode: 'allow' | 'deny'; keys: string[] }
  uid?: number
  gid?: number
  uid_mode: UidMode
  idle_timeout_seconds: number
}

export type IsolatedSessionSummary = {
  session_id: string
  status: IsolatedSessionStatus
  created_at: string
  last_run_at: string
  idle_remaining_seconds?: number
}

export type IsolatedSessionState = IsolatedSessionSummary &
  SessionParameters & {
    /** An addition: why a session is dead. */
    message?: string
  }

/** `GET /v1/isolated/session/{id}/runs/{runId}`. */
export type IsolatedRunStatus = {
  session_id: string
  run_id: string
  running: boolean
  exit_code?: number
  error?: string
  started_at: string
  finished_at?: string
}

export const CHANGE_KINDS = ['added', 'modified', 'deleted'] as const
/** One line of `GET /v1/isolated/session/{id}/diff`. */
export type IsolatedChange = {
  path: string
  change: (typeof CHANGE_KINDS)[number]
  type: 'file' | 'directory' | 'symlink' | 'other'
  size?: number
}
