// The life of a sandbox as a table of allowed steps. Routes, the clock, the runtime's reports and recovery all ask it before
// they change a row, so that no order of events leads to a state that nobody thought of (contract: lifecycle.md 3).

import type { SandboxState } from '../../lib/api/lifecycle.ts'

export const STEPS = [
  'started', // the runtime has started it
  'start_failed',
  'pause', // a pause has been asked for
  'paused',
  'pause_failed',
  'resume',
  'resumed',
  'resume_failed',
  'exited', // its entrypoint ended with 0
  'crashed', // its entrypoint ended with another code, or was killed
  'lost', // the runtime knows it no more
  'remove', // a deletion or its expiry
] as const
export type Step = (typeof STEPS)[number]

const ENDS = { exited: 'Terminated', crashed: 'Failed', lost: 'Failed', remove: 'Stopping' } as const

const ALLOWED: Record<SandboxState, Partial<Record<Step, SandboxState>>> = {
  Pending: { started: 'Running', start_failed: 'Failed', remove: 'Stopping' },
  Running: { ...ENDS, pause: 'Pausing', paused: 'Paused' },
  Pausing: { ...ENDS, paused: 'Paused', pause_failed: 'Running', resumed: 'Running' },
  Paused: { ...ENDS, resume: 'Resuming', resumed: 'Running' },
  Resuming: { ...ENDS, resumed: 'Running', resume_failed: 'Paused', paused: 'Paused' },
  // Only the end of the row follows.
  Stopping: { remove: 'Stopping' },
  Terminated: { remove: 'Stopping' },
  Failed: { remove: 'Stopping' },
}

export type StepDecision = { allowed: true; state: SandboxState } | { allowed: false; reason: string }

/** Whether a sandbox in `state` may take `step`, and where that leads. */
export function decideStep(state: SandboxState, step: Step): StepDecision {
  const next = ALLOWED[state][step]
  if (next) return { allowed: true, state: next }
  return { allowed: false, reason: `Cannot ${VERBS[step]} a sandbox that is ${state}` }
}

const VERBS: Record<Step, string> = {
  started: 'start',
  start_failed: 'fail the start of',
  pause: 'pause',
  paused: 'pause',
  pause_failed: 'undo the pause of',
  resume: 'resume',
  resumed: 'resume',
  resume_failed: 'undo the resume of',
  exited: 'end',
  crashed: 'end',
  lost: 'lose',
  remove: 'remove',
}

/** States in which the runtime must know the sandbox. */
export function isLive(state: SandboxState): boolean {
  return state === 'Running' || state === 'Pausing' || state === 'Paused' || state === 'Resuming'
}
