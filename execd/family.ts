// What a family of routes is: app.ts puts families together, each file in routes/ makes one.

import type { Routes } from './http/router.ts'

/** Routes that belong together, with what they keep running. */
export type Family = {
  routes: Routes
  /** Ends everything that the family runs: TERM, and KILL after the grace. */
  endAll?(graceMs: number): Promise<void>
  /** Interrupts what has this id. False when nothing of the family's has. */
  interrupt?(id: string): Promise<boolean>
}
