// Kernels of Go: every cell is compiled to a program by the image's own toolchain (go-session.ts) and run.

import { findProgram } from '../../command/program.ts'
import { execdError } from '../../http/answer.ts'
import type { Surroundings } from '../../surroundings.ts'
import type { KernelStarter } from './engine.ts'
import { startGoKernel } from './go-kernel.ts'

export function goStarter(surroundings: Surroundings): KernelStarter {
  const find = (env: Record<string, string>) => findProgram('go', env.PATH, surroundings.workdir)
  const refusal = (env: Record<string, string>) => `there is no "go" in PATH "${env.PATH ?? ''}"`
  return {
    refusal: async (env) => (find(env).ok ? undefined : refusal(env)),
    start: async ({ cwd, env }, signal) => {
      const go = find(env)
      if (!go.ok) throw execdError('INVALID_REQUEST_BODY', `Cannot start the go kernel: ${refusal(env)}`)
      return startGoKernel(surroundings, { go: go.path, cwd, env }, signal)
    },
  }
}
