// What the operator of a cluster says of every sandbox, in files that lie in the image or are mounted (contract: egress.md 4.3). They are
// looked at again and again; a file that cannot be used changes nothing, and is told of once.

import { join } from 'node:path'
import { parseTarget } from '../../lib/api/network-policy.ts'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { readIfThere } from '../../lib/program.ts'
import type { Floor } from '../policy/compile.ts'

export const ALWAYS_DIRECTORY = '/var/egress/rules'
/** The contract promises a minute and a half. */
const LOOK_MS = 30_000

/** The targets of both files; none where there is no file. Throws one sentence that names file and line. */
export function readAlwaysFiles(directory: string, read = readIfThere): Floor {
  const targetsOf = (name: string) => {
    const path = join(directory, name)
    return parseAlwaysFile(read(path) ?? '', path)
  }
  return { deny: targetsOf('deny.always'), allow: targetsOf('allow.always') }
}

/** One target a line; empty lines and those that begin with "#" say nothing. */
export function parseAlwaysFile(text: string, path: string): string[] {
  const targets: string[] = []
  for (const [index, line] of text.split('\n').entries()) {
    const target = line.trim()
    if (target === '' || target.startsWith('#')) continue
    const parsed = parseTarget(target)
    const problem =
      'problem' in parsed ? parsed.problem : parsed.kind === 'set' ? 'must be a target itself' : undefined
    if (problem !== undefined)
      throw new Error(
        `Cannot use "${path}": line ${index + 1}, ${JSON.stringify(target.slice(0, 80))}, ${problem}`,
      )
    targets.push(target)
  }
  return targets
}

/** Gives what to call from time to time: it has the files put in force when they say something else than before. */
export function createAlwaysWatch({
  directory,
  known,
  change,
  log,
  now = Date.now,
}: {
  directory: string
  known: Floor
  change: (floor: Floor) => Promise<void>
  log: Logger
  now?: () => number
}): () => Promise<void> {
  let inForce = JSON.stringify(known)
  let told: string | undefined
  let lookedAt = now()
  return async () => {
    if (now() - lookedAt < LOOK_MS) return
    lookedAt = now()
    try {
      const floor = readAlwaysFiles(directory)
      told = undefined
      if (JSON.stringify(floor) === inForce) return
      await change(floor)
      inForce = JSON.stringify(floor)
      const { deny, allow } = floor
      log.info('what holds for every policy was changed', {
        alwaysDeny: deny.length,
        alwaysAllow: allow.length,
      })
    } catch (error) {
      const problem = messageOf(error)
      if (problem !== told) log.error('what holds for every policy stays as it was', { error: problem })
      told = problem
    }
  }
}
