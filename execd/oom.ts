// Who goes first when memory runs out. Lowering our own score takes a capability of the host; raising our children's, and
// taking our own back to where it began, takes none.

import { readFileSync, writeFileSync } from 'node:fs'
import type { ProcessStarter } from './command/process.ts'

/** How far above ours the score of a child is where ours cannot be lowered. */
const DISTANCE = 500

/** Keeps execd from being the first that the kernel ends: the scores of it and of its children. */
export function decideOomScores(): Pick<ProcessStarter, 'oomScores'> {
  const path = '/proc/self/oom_score_adj'
  let own: number
  try {
    own = Number(readFileSync(path, 'utf8'))
    writeFileSync(path, String(own))
  } catch {
    // No /proc, or not ours to write: then nobody is preferred.
    return {}
  }
  if (own < 0) return { oomScores: { own, children: 0 } }
  try {
    writeFileSync(path, '-900')
    return { oomScores: { own: -900, children: own } }
  } catch {
    // Not permitted in most sandboxes.
    return { oomScores: { own, children: Math.min(own + DISTANCE, 1000) } }
  }
}
