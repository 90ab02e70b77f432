// Control goes before the programs that make sandboxes, and before the sandboxes. Many at once want every processor for seconds, and
// then even what takes a millisecond, such as an answer, would wait for its turn behind all of them.

import { readdirSync } from 'node:fs'
import { setPriority } from 'node:os'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { outputOf } from '../lib/run-program.ts'

const NICENESS = -10

/** Raises this process's priority, which what it starts does not inherit. Without the right to do so everything stays as it is. */
export async function goFirst(log: Logger): Promise<void> {
  try {
    // This first: what is started from here on, programs and threads alike, begins as everybody else does.
    const each = ['--all-tasks', '--reset-on-fork', '--other', '--pid', '0', String(process.pid)]
    await outputOf('chrt', each)
    // A thread that holds up another one, such as one that collects garbage, must not wait longer than that.
    for (const thread of readdirSync('/proc/self/task')) setPriority(Number(thread), NICENESS)
  } catch (error) {
    log.debug('control goes no sooner than what it starts', { error: messageOf(error) })
  }
}
