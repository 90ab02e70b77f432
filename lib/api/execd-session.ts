// The wire of shell sessions (contract: execd.md 4). The stream of a run is that of a command (execd.ts).

/** `POST /session`. */
export type CreatedSession = { session_id: string }

/** One entry of `GET /sessions`, an addition. */
export type SessionStatus = {
  session_id: string
  created_at: string
  /** When the last run began; absent before the first. */
  last_run_at?: string
  running: boolean
  /** How many runs wait for their turn. */
  waiting: number
  /** Where the next run begins, unless it says otherwise. */
  cwd: string
  /** What runs its code: with `sh`, only variables, directory and options outlive the end of the shell. */
  shell: 'bash' | 'sh'
  /** How often a new shell has taken over from one that had ended, with the state that was written down. */
  restarts: number
}

/** `GET /sessions`. */
export type SessionList = { sessions: SessionStatus[] }
