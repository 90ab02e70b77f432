// Tells of sandboxes that have ended. There may be hundreds that do nothing, and they are looked at several times in a second: a record is
// read until it says that its sandbox is complete, as from then on it does not change, and then only the first process is looked at.

import { setTimeout as delay } from 'node:timers/promises'
import { FirstProcess } from '../first-process.ts'
import type { RuntimeSandbox } from '../runtime.ts'
import { listSandboxIds, pathsOf, readRecord } from '../sandbox-record.ts'
import type { Found } from './find-sandbox.ts'

/** How often the first processes of sandboxes are looked at. */
const LOOK_EVERY_MS = 250

export type EndWatchOptions = {
  dataDir: string
  runDir: string
  find: (id: string) => Found
}

export class EndWatch {
  readonly #options: EndWatchOptions
  /** The processes that each of those who watch looks at. */
  readonly #followed = new Set<Map<string, FirstProcess>>()

  constructor(options: EndWatchOptions) {
    this.#options = options
  }

  /** Tells of each sandbox that has ended, those that had before too. One whose directory somebody has removed ends as well. */
  async *ends(signal: AbortSignal): AsyncGenerator<RuntimeSandbox> {
    const processes = new Map<string, FirstProcess>()
    const told = new Set<string>()
    this.#followed.add(processes)
    try {
      while (!signal.aborted) {
        const ids = new Set(await listSandboxIds(this.#options.dataDir))
        for (const id of ids) if (!told.has(id) && !processes.has(id)) this.#follow(id, processes)
        for (const [id, process] of processes) {
          if (process.isRunning) continue
          drop(id, processes)
          const sandbox = this.#options.find(id) ?? ended(id)
          if (sandbox.state !== 'exited') continue
          told.add(id)
          yield sandbox
        }
        for (const id of told) if (!ids.has(id)) told.delete(id)
        // The end of the waiting is the end of the loop.
        await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => {})
      }
    } finally {
      this.#followed.delete(processes)
      for (const id of processes.keys()) drop(id, processes)
    }
  }

  /** Looks no more at a sandbox that was removed: there may be another one of its id. */
  forget(id: string): void {
    for (const processes of this.#followed) drop(id, processes)
  }

  #follow(id: string, processes: Map<string, FirstProcess>): void {
    const record = readRecord(pathsOf(id, this.#options).record)
    if (record?.complete) processes.set(id, new FirstProcess(record))
  }
}

function drop(id: string, processes: Map<string, FirstProcess>): void {
  processes.get(id)?.[Symbol.dispose]()
  processes.delete(id)
}

/** What is known of one that has no directory any more. */
const ended = (id: string): RuntimeSandbox => ({
  id,
  state: 'exited',
  exitCode: 137,
  message: 'ended from outside, and its directory is gone',
})
