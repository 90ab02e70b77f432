// Isolated sessions.

import type { Family } from '../app.ts'
import { execdError } from '../http/answer.ts'
import type { Surroundings } from '../surroundings.ts'

export function isolatedFamily(_surroundings: Surroundings): Family {
  const notYet = () => {
    throw execdError('NOT_SUPPORTED', 'Isolated sessions cannot be used here yet')
  }
  return { routes: new Proxy({}, { get: () => notYet }) }
}
