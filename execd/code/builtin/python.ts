// Kernels of Python: execd/assets/kernels/python, run by the image's own interpreter.

import { chownSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram } from '../../command/program.ts'
import { assetPath } from '../../runtime-dir.ts'
import type { Surroundings } from '../../surroundings.ts'
import type { KernelStarter } from './engine.ts'
import { startKernelProcess } from './kernel-process.ts'

const NAMES = ['python3', 'python']

export function pythonStarter(surroundings: Surroundings): KernelStarter {
  const find = (env: Record<string, string>) => {
    for (const name of NAMES) {
      const program = findProgram(name, env.PATH, surroundings.workdir)
      if (program.ok) return program.path
    }
    return undefined
  }
  const refusal = (env: Record<string, string>) =>
    `there is neither "python3" nor "python" in PATH "${env.PATH ?? ''}"`

  return {
    refusal: async (env) => (find(env) ? undefined : refusal(env)),
    start: async ({ language, cwd, env }, signal) => {
      const path = find(env)
      if (!path) throw new Error(`Cannot start the python kernel: ${refusal(env)}`)
      const argv = [path, assetPath('kernels/python/main.py'), makeCacheDir(surroundings)]
      return startKernelProcess(surroundings, { language, path, argv, cwd, env }, signal)
    },
  }
}

/** Where Python keeps what it compiles of the kernel; made again each time, as whoever is root may have removed it. */
function makeCacheDir({ dir, identity }: Surroundings): string {
  const path = join(dir, 'python-cache')
  const { uid, gid } = identity()
  mkdirSync(path, { recursive: true, mode: 0o700 })
  chownSync(path, uid, gid)
  return path
}
