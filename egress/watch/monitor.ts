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

function follow(
  [program = '', ...args]: readonly string[],
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { PATH: SYSTEM_PATH, LC_ALL: 'C' },
      signal,
      killSignal: 'SIGKILL',
    })
    createInterface({ input: child.stdout }).on('line', onLine)
    child.once('error', reject)
    child.once('close', () => resolve())
  })
}
