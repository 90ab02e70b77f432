// Kernels of JavaScript and TypeScript: execd/assets/kernels/javascript, run by the image's Node when that is new enough, so that
// native modules of the image fit, and else by ours.

import { ApiError } from '../../../lib/errors.ts'
import { findProgram } from '../../command/program.ts'
import { assetPath, nodeProgram } from '../../runtime-dir.ts'
import type { Surroundings } from '../../surroundings.ts'
import type { Kernel, KernelSpec } from '../engine.ts'
import type { KernelStarter } from './engine.ts'
import { startKernelProcess } from './kernel-process.ts'

/** Terminated in the middle of a callback, Node would otherwise end itself over an inconsistency that does no harm here. */
const FLAGS = ['--no-force-async-hooks-checks']

export function javascriptStarter(
  surroundings: Surroundings,
  language: 'javascript' | 'typescript',
): KernelStarter {
  /** Programs that have shown that they cannot run the kernel. */
  const unfit = new Set<string>()
  const start = (node: string[], { cwd, env }: KernelSpec, signal: AbortSignal): Promise<Kernel> => {
    const [path = '', ...first] = node
    const argv = [path, ...first, ...FLAGS, assetPath('kernels/javascript/main.cjs'), language]
    return startKernelProcess(surroundings, { language, path, argv, cwd, env }, signal)
  }
  return {
    refusal: async () => undefined,
    start: async (spec, signal) => {
      const found = findProgram('node', spec.env.PATH, surroundings.workdir)
      if (found.ok && !unfit.has(found.path)) {
        try {
          return await start([found.path], spec, signal)
        } catch (error) {
          if (!(error instanceof ApiError) || signal.aborted) throw error
          surroundings.log.info("the image's Node cannot run the kernel", { error: error.message })
          unfit.add(found.path)
        }
      }
      return start(nodeProgram(), spec, signal)
    },
  }
}
