// Metrics.

import type { Family } from '../app.ts'
import { execdError } from '../http/answer.ts'
import type { Surroundings } from '../surroundings.ts'

export function metricsFamily(_surroundings: Surroundings): Family {
  const notYet = () => {
    throw execdError('NOT_SUPPORTED', 'Metrics cannot be used here yet')
  }
  return { routes: new Proxy({}, { get: () => notYet }) }
}
