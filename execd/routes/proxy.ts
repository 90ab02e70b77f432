// The proxy.

import type { Family } from '../app.ts'
import { execdError } from '../http/answer.ts'
import type { Surroundings } from '../surroundings.ts'

export function proxyFamily(_surroundings: Surroundings): Family {
  const notYet = () => {
    throw execdError('NOT_SUPPORTED', 'The proxy cannot be used here yet')
  }
  return { routes: new Proxy({}, { get: () => notYet }) }
}
