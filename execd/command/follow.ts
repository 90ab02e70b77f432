// A command from its start to its end: its output goes to its journal and to whoever listens, and its time runs out.

import { MAX_TIMER_MS } from '../timer.ts'
import { type Command, type CommandEnd, describeEnd } from './command.ts'
import { type OutputSink, relayOutput } from './output.ts'
import type { RunningProcess } from './process.ts'

const TIMEOUT_GRACE_MS = 500
/** Most commands are over by then. What runs longer has its output on disk, where a restart of execd does not take it away. */
const MEMORY_MS = 50

export type Following = {
  /** Who else hears the output. */
  observer?: OutputSink | undefined
  /** Ends the command. */
  end: (graceMs: number) => void
}

/** Resolves with the end of a command, once nothing is left of what had to be ended by force. */
export async function followCommand(
  command: Command,
  process: RunningProcess,
  { observer, end }: Following,
): Promise<CommandEnd> {
  const { journal } = command
  const timers = timeLimit(command, end)
  if (!command.background) timers.push(setTimeout(() => journal.toDisk(), MEMORY_MS))
  void process.ended.then(() => {
    for (const timer of timers) clearTimeout(timer)
  })
  let isOver = false
  const ended = await relayOutput(process, {
    ...journal.sink(),
    write: (name, bytes) => {
      journal.append(bytes)
      return isOver || !observer || observer.write(name, bytes)
    },
    drained: () => observer?.drained() ?? Promise.resolve(),
  })
  isOver = true
  // An end by force is one when nothing is left of the command, wherever it has gone to.
  await command.ending
  return describeEnd(ended, command)
}

function timeLimit(command: Command, end: Following['end']): NodeJS.Timeout[] {
  const { timeoutMs, startedAt } = command
  if (timeoutMs === undefined || timeoutMs > MAX_TIMER_MS) return []
  const expire = () => {
    command.timedOut = true
    end(TIMEOUT_GRACE_MS)
  }
  // Of a command of an earlier life, some of the time is over.
  const restMs = Math.max(0, startedAt + timeoutMs - Date.now())
  return [setTimeout(expire, Math.min(restMs, timeoutMs))]
}
