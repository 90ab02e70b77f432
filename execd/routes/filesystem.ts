// File access as another user.

import type { Family } from '../app.ts'
import { execdError } from '../http/answer.ts'
import type { Surroundings } from '../surroundings.ts'

export function filesystemFamily(_surroundings: Surroundings): Family {
  const notYet = () => {
    throw execdError('NOT_SUPPORTED', 'File access as another user cannot be used here yet')
  }
  return { routes: new Proxy({}, { get: () => notYet }) }
}
