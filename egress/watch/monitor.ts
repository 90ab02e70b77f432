// A program that prints what happens in the kernel, for as long as egress runs: started anew when it ends, and said when that happens,
// as what happened meanwhile is lost.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { SYSTEM_PATH } from '../../lib/run-program.ts'

export type MonitorOptions = {
  command: readonly [program: string, ...args: string[]]
  onLine: (line: string) => void
  /** Something may have been missed. */
  onGap: () => void
  log: Logger
  signal: AbortSignal
}

const AGAIN_MS = 1000

/** Resolves when the signal is aborted. */
export async function monitor({ command, onLine, onGap, log, signal }: MonitorOptions): Promise<void> {
  const [program, ...args] = command
  while (!signal.aborted) {
    await follow([program, ...args], onLine, signal).catch((error) => {
      if (!signal.aborted) log.warn(`cannot follow "${command.join(' ')}"`, { error: messageOf(error) })
    })
    // It is asked to stop by the same signal.
    await delay(AGAIN_MS, undefined, { signal }).catch(() => {})
    if (!signal.aborted) onGap()
  }
}

// The program does not read what it is given, so a shell does that: it ends the program when nothing more can come, and that is also so
// when egress was killed. There are two, one that egress has started and, in it, the one that reads: Deno, when it ends by an exception,
// kills what it has started and nothing below. What the program prints ends when it does, as the shells keep no hold of it. A terminal
// sends its signals to all; by them the shells would end before the program, which nobody would end then.
const SCRIPT = `trap "" INT HUP QUIT
exec 3<&0
"$0" "$@" </dev/null 3<&- &
program=$!
exec >&-
{ read -r end; kill -9 $program; } <&3 3<&- &
exec 3<&- </dev/null
wait $!`

function follow(
  command: readonly string[],
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('/bin/sh', ['-c', SCRIPT, ...command], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { PATH: SYSTEM_PATH, LC_ALL: 'C' },
    })
    const end = () => child.stdin.end()
    // It may have ended by itself.
    child.stdin.on('error', () => {})
    signal.addEventListener('abort', end)
    createInterface({ input: child.stdout }).on('line', onLine).on('close', end)
    child.once('error', reject)
    child.once('close', () => {
      signal.removeEventListener('abort', end)
      resolve()
    })
    if (signal.aborted) end()
  })
}
