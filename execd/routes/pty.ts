// Terminals.

import type { Family } from '../app.ts'
import { execdError } from '../http/answer.ts'
import type { Surroundings } from '../surroundings.ts'

export function ptyFamily(_surroundings: Surroundings): Family {
  const notYet = () => {
    throw execdError('NOT_SUPPORTED', 'Terminals cannot be used here yet')
  }
  return { routes: new Proxy({}, { get: () => notYet }) }
}
