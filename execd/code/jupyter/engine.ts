// Kernels of a Jupyter server.

import type { Surroundings } from '../../surroundings.ts'
import type { Engine } from '../engine.ts'

export function createJupyterEngine(_surroundings: Surroundings): Engine {
  const reason = 'Jupyter servers cannot be used by this version'
  return {
    name: 'jupyter',
    refusal: async () => reason,
    start: async () => {
      throw new Error(reason)
    },
  }
}
