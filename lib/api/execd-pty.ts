// The wire of terminals (contract: execd.md 5). What the contract does not have is marked as an addition.

/** The first byte of a binary frame. */
export const PTY_CHANNEL = { stdin: 0, stdout: 1, stderr: 2, replay: 3 } as const

/** Why the server closes a connection: the close codes of its own beside 1000. */
export const PTY_TAKEN_OVER = 4001

export const PTY_SIGNALS = [
  'SIGINT',
  'SIGTERM',
  'SIGKILL',
  'SIGQUIT',
  'SIGHUP',
  // Additions.
  'SIGTSTP',
  'SIGCONT',
  'SIGUSR1',
  'SIGUSR2',
] as const
export type PtySignal = (typeof PTY_SIGNALS)[number]

export const PTY_MODES = ['pty', 'pipe'] as const
export type PtyMode = (typeof PTY_MODES)[number]

/** `GET /pty/{id}`; everything but the first three is an addition. */
export type PtyStatus = {
  session_id: string
  running: boolean
  output_offset: number
  created_at: string
  command?: string
  cwd: string
  cols: number
  rows: number
  /** Whether a client that may type is connected. */
  connected: boolean
  viewers: number
  launch_attempted: boolean
  launch_failed: boolean
  /** Of the program that runs or ran last. */
  mode?: PtyMode
  started_at?: string
  /** Of the running program. */
  pid?: number
  /** How the last program ended; absent while one runs. */
  exit_code?: number
  signal?: string
  exited_at?: string
}

/** `GET /pty`, an addition. */
export type PtyList = { sessions: PtyStatus[] }

export type PtyErrorCode =
  | 'START_FAILED'
  | 'STDIN_WRITE_FAILED'
  | 'INVALID_FRAME'
  | 'ALREADY_CONNECTED'
  | 'RUNTIME_ERROR'
  | 'SESSION_GONE'

/** Text frames of the server, each ended by a newline. */
export type PtyServerFrame =
  /** `view` is an addition, for a connection that only watches. */
  | { type: 'connected'; session_id: string; mode: PtyMode; view?: true }
  /** -1 when a signal ended the program; `signal` is an addition. */
  | { type: 'exit'; exit_code: number; signal?: string }
  | { type: 'pong' }
  | { type: 'error'; error: string; code: PtyErrorCode }

/** Text frames of the client. */
export type PtyClientFrame =
  | { type: 'stdin'; data: string }
  | { type: 'resize'; cols: number; rows: number }
  | { type: 'signal'; signal: PtySignal }
  | { type: 'ping' }
  /** An addition: nothing more will be typed. Ends the input of pipe mode; on a terminal it is Ctrl-D. */
  | { type: 'eof' }
