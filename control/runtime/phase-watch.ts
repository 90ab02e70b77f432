import type { CreatePhase, CreateWatch } from './runtime.ts'

export type PhaseWatch = { mark(phase: CreatePhase): void; times(): Record<string, number> }

/** Milliseconds from phase to phase, for the log, and word of each for who watches. */
export function watchPhases({ phaseDone }: CreateWatch): PhaseWatch {
  const times: Record<string, number> = {}
  let last = performance.now()
  return {
    mark(phase) {
      times[phase] = Math.round(performance.now() - last)
      last = performance.now()
      phaseDone?.(phase)
    },
    times: () => times,
  }
}
