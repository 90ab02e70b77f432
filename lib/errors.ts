// Every error that a caller may see is one class with a code. The status follows from the code through the table of the
// program that throws it, and one `onError` at the edge makes the body (contract: lifecycle.md, "errors"; execd.md 0).

export type ApiErrorOptions = {
  /** What led to this error; it goes into the log and never to the caller. */
  cause?: unknown
  /** Fields to add to the body beside `code` and `message`, such as the `detail` list of a 422. */
  extra?: Record<string, unknown>
  /** Headers of the answer, such as `Retry-After`. */
  headers?: Record<string, string>
}

/** An error with an HTTP status and a body of `{code, message}`. Its message is written for the caller to read. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  readonly extra: Record<string, unknown> | undefined
  readonly headers: Record<string, string>

  constructor(status: number, code: string, message: string, options: ApiErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ApiError'
    this.status = status
    this.code = code
    this.extra = options.extra
    this.headers = options.headers ?? {}
  }

  /** The body as it goes on the wire. */
  body(): Record<string, unknown> {
    return { code: this.code, message: this.message, ...this.extra }
  }
}

/** The text of anything thrown, for a log line. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The `code` of a system error (`ENOENT`, `EADDRINUSE`), or undefined. */
export function systemCodeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
