// What nobody has caught. A promise that failed without anyone waiting for it, and an error of a socket, file or child that nobody
// listened for, have left behind one request at most: they are told in the log, and everyone else is served on. After any other
// exception nobody knows what was left half done. execd ends, and is started again with what it has written down.

import { messageOf, systemCodeOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'

/** Errors of the system, of streams and of what others say on the wire. */
const HARMLESS = /^(?:E(?!RR_)|ERR_STREAM_|HPE_)/

/** Goes on after what is harmless, and calls `end` after what is not. */
export function catchLastErrors(log: Logger, end: () => void): void {
  let isGuarded = false
  const tell = (message: string, error: unknown) => {
    // A log that nobody reads any more would be told of its own errors for ever.
    if (!isGuarded) process.stderr.on('error', () => {})
    isGuarded = true
    log.error(message, { error: (error instanceof Error ? error.stack : undefined) ?? messageOf(error) })
  }
  process.on('unhandledRejection', (reason) => tell('a promise has failed unseen', reason))
  process.on('uncaughtException', (error) => {
    if (HARMLESS.test(systemCodeOf(error) ?? '')) return tell('an error was not listened for', error)
    tell('an exception was not caught: execd ends', error)
    end()
  })
}
