// Whether an answer told of a success. Mostly its status says so; a stream begins with 200 and may end with an error.

import type { ServerResponse } from 'node:http'

const FAILED = Symbol('failed')
type Marked = ServerResponse & { [FAILED]?: true }

/** Says that what was asked for has failed, though the status is that of a success. */
export function markFailed(response: ServerResponse): void {
  ;(response as Marked)[FAILED] = true
}

export function isMarkedFailed(response: ServerResponse): boolean {
  return (response as Marked)[FAILED] === true
}
