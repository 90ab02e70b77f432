// Who goes first when memory runs out. Lowering our own score takes a capability of the host; raising our children's, and
// taking our own back to where it began, takes none.

import { readFileSync, writeFileSync } from 'node:fs'
import type { ProcessStarter } from './command/process.ts'

const SCORE_FILE = '/proc/self/oom_score_adj'
/** How far above ours the score of a child is where ours cannot be lowered. */
const DISTANCE = 500

/** Keeps execd from being the first that the kernel ends: the scores of it and of its children. */
export function decideOomScores(): Pick<ProcessStarter, 'oomScores'> {
  let own: number
  try {
    own = Number(readFileSync(SCORE_FILE, 'utf8'))
    writeFileSync(SCORE_FILE, String(own))
  } catch {
    // No /proc, or not ours to write: then nobody is preferred.
    return {}
  }
  if (own < 0) return { oomScores: { own, children: 0 } }
  try {
    writeFileSync(SCORE_FILE, '-900')
    return { oomScores: { own: -900, children: own } }
  } catch {
    // Not permitted in most sandboxes.
    return { oomScores: { own, children: Math.min(own + DISTANCE, 1000) } }
  }
}

/**
 * Starts a child by `start`. A child is born with the score of its parent, which therefore changes its own for that moment: written
 * to the child afterwards, it would come too late for what the child has already started.
 */
export function withScoreOfChildren<T>(scores: ProcessStarter['oomScores'], start: () => T): T {
  if (!scores) return start()
  writeFileSync(SCORE_FILE, String(scores.children))
  try {
    return start()
  } finally {
    writeFileSync(SCORE_FILE, String(scores.own))
  }
}
