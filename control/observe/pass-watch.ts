// Whether rows and runtime were made to agree of late, as the last pass of the reconciler has it.

import type { Observer } from './observer.ts'
import { type Check, NotReady } from './readiness.ts'

export function createPassWatch(): { observer: Partial<Observer>; check: Check } {
  let hasFailed = false
  return {
    observer: {
      passDone({ isFailed }) {
        hasFailed = isFailed
      },
    },
    check() {
      if (hasFailed) throw new NotReady('the last look over all sandboxes failed; it is tried again')
    },
  }
}
