// Kernels of JavaScript and TypeScript.

import type { Surroundings } from '../../surroundings.ts'
import type { KernelStarter } from './engine.ts'

export function javascriptStarter(
  _surroundings: Surroundings,
  _language: 'javascript' | 'typescript',
): KernelStarter {
  const reason = 'its kernel is not part of this version'
  return {
    refusal: async () => reason,
    start: async () => {
      throw new Error(`Cannot start a kernel: ${reason}`)
    },
  }
}
