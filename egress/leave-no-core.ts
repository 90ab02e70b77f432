// What a crash leaves behind: of this program nothing of its memory, as secrets of all sandboxes lie in it (core(5), "Controlling which
// mappings are written"). Programs that it starts inherit that.

import { writeFileSync } from 'node:fs'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'

const FILTER = '/proc/self/coredump_filter'
const NOTHING = '0'

export function leaveNoCore(log: Pick<Logger, 'warn'>, file = FILTER): void {
  try {
    writeFileSync(file, NOTHING)
  } catch (error) {
    log.warn('a crash of egress could leave secrets of sandboxes in a core file', {
      problem: messageOf(error),
    })
  }
}
