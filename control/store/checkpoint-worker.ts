// The thread of a Checkpointer: one connection of its own, one checkpoint for each message.

import { parentPort, workerData } from 'node:worker_threads'
import Sqlite from 'better-sqlite3'

export type CheckpointAnswer = { pages: number; left: number } | { error: string }

const database = new Sqlite(String(workerData), { fileMustExist: true, timeout: 0 })
// A connection does not know of the log before it has read anything.
database.pragma('user_version')

parentPort?.on('message', () => {
  let answer: CheckpointAnswer
  try {
    // PASSIVE waits for nobody, and nobody for it: what is written meanwhile is left to the next one.
    const [found] = database.pragma('wal_checkpoint(PASSIVE)') as { log: number; checkpointed: number }[]
    const pages = Math.max(found?.checkpointed ?? 0, 0)
    answer = { pages, left: Math.max((found?.log ?? 0) - pages, 0) }
  } catch (error) {
    answer = { error: error instanceof Error ? error.message : String(error) }
  }
  parentPort?.postMessage(answer)
})
