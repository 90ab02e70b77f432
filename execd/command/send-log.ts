// Answering with a part of a log, whose files may be cut short by anyone meanwhile.

import type { ServerResponse } from 'node:http'
import { untilDrained } from '../http/answer.ts'
import type { JournalReading } from './journal.ts'

type Part = { length: number; headers: Record<string, string | number> }

/** Sends as many bytes of `reading` as `decide` says, with its headers, and closes it. */
export async function sendLog(
  response: ServerResponse,
  reading: JournalReading,
  decide: (reading: JournalReading) => Part,
): Promise<void> {
  try {
    const { length, headers } = decide(reading)
    response.writeHead(200, {
      'Content-Type': 'text/plain; charset=utf-8',
      'Content-Length': length,
      ...headers,
    })
    let rest = length
    for (const chunk of reading.chunks()) {
      if (response.destroyed || rest === 0) break
      const wanted = chunk.subarray(0, rest)
      rest -= wanted.length
      if (!response.write(wanted)) await untilDrained(response)
    }
    // Half an answer must not look like a whole one.
    if (rest > 0) response.destroy()
    else response.end()
  } finally {
    reading.close()
  }
}
