// The wire of execd (contract: execd.md 0-3, 6; v1.1.md 2). Plain types, not schemas: execd starts with every sandbox, and a
// schema library would more than double its start. What a request must be is checked where it is read (execd/http/).

/** The header that carries a sandbox's token, on every route. */
export const EXECD_TOKEN_HEADER = 'x-execd-access-token'
/** An addition: before any path, `/-/TOKEN` does what the header does, for clients that cannot send it. Not for WebSockets. */
export const TOKEN_IN_PATH = '/-/'
/** The header that carries the position after a part of a command's log. */
export const TAIL_CURSOR_HEADER = 'EXECD-COMMANDS-TAIL-CURSOR'
/** An addition: `true` on a log in which output is missing, such as for a full disk. */
export const OUTPUT_LOST_HEADER = 'EXECD-COMMANDS-OUTPUT-LOST'

/** Code and status of every refusal. */
export const EXECD_ERRORS = {
  INVALID_REQUEST_BODY: 400,
  MISSING_QUERY: 400,
  INVALID_FILE: 400,
  INVALID_FILE_CONTENT: 400,
  INVALID_FILE_METADATA: 400,
  FILE_NOT_FOUND: 404,
  CONTEXT_NOT_FOUND: 404,
  SESSION_NOT_FOUND: 404,
  ALREADY_CONNECTED: 409,
  /** An addition: what stands there is not what a conditional write expected. */
  CONFLICT: 412,
  /** An addition: a limit on how many there may be at once. */
  TOO_MANY: 429,
  RUNTIME_ERROR: 500,
  NOT_SUPPORTED: 501,
  SERVICE_UNAVAILABLE: 503,
  UNKNOWN: 416,
} as const
export type ExecdErrorCode = keyof typeof EXECD_ERRORS

/** One event of a stream; bare JSON and a blank line on the wire (lib/sse.ts). */
export type StreamEvent =
  | { type: 'init' | 'ping' | 'status'; text: string; timestamp: number }
  /** `bytes_base64` is an addition: the bytes of a text that is not all of them, as they are not valid UTF-8. */
  | { type: 'stdout' | 'stderr'; text: string; bytes_base64?: string; timestamp: number }
  | { type: 'execution_count'; execution_count: number; timestamp: number }
  /** By MIME type, all of them texts; plain text stands under `text` and under `text/plain` (contract: execd.md 2.2). */
  | { type: 'result'; results: Record<string, string>; timestamp: number }
  | { type: 'execution_complete'; execution_time: number; timestamp: number }
  | { type: 'error'; timestamp: number; error: StreamError }
export type StreamError = { ename: string; evalue: string; traceback: string[] }

/** `GET /command/status/{id}`; what is not known yet is absent. */
export type CommandStatus = {
  id: string
  content: string
  running: boolean
  /** Absent while it runs, and for ever when nobody saw its end. */
  exit_code?: number
  error?: string
  /** An addition: the signal that ended it, such as `SIGKILL`. */
  signal?: string
  /** An addition: the timeout ended it. */
  timed_out?: true
  /** An addition: output is missing in its log, such as for a full disk. */
  output_lost?: true
  started_at: string
  finished_at?: string
}

export const FILE_TYPES = ['file', 'directory', 'symlink', 'other'] as const
export type FileInfo = {
  path: string
  type: (typeof FILE_TYPES)[number]
  size: number
  modified_at: string
  created_at: string
  owner: string
  group: string
  /** The octal digits read as a decimal number: 644 is rw-r--r--. */
  mode: number
}
