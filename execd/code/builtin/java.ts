// Kernels of Java: execd/assets/kernels/java, compiled and run by the image's own JDK.

import { existsSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { findProgram } from '../../command/program.ts'
import { execdError } from '../../http/answer.ts'
import { assetPath } from '../../runtime-dir.ts'
import type { Surroundings } from '../../surroundings.ts'
import type { KernelStarter } from './engine.ts'
import { startKernelProcess } from './kernel-process.ts'

const OPTIONS = [
  // The channel is a descriptor that only a private field can name.
  '--add-opens=java.base/java.io=ALL-UNNAMED',
  // Cells run in a machine of their own; this one compiles them, and shall be there soon and small.
  '-XX:TieredStopAtLevel=1',
  '-XX:+UseSerialGC',
  '-XX:-UsePerfData',
  '-Dfile.encoding=UTF-8',
]

export function javaStarter(surroundings: Surroundings): KernelStarter {
  const find = (env: Record<string, string>): { path: string } | { why: string } => {
    const java = findProgram('java', env.PATH, surroundings.workdir)
    const path = java.ok ? java.path : join(env.JAVA_HOME ?? '', 'bin/java')
    if (!java.ok && !(env.JAVA_HOME && existsSync(path)))
      return { why: `there is no "java" in PATH "${env.PATH ?? ''}"` }
    // A JRE has no compiler; of JDKs, all since 9 have `jshell` beside `java`.
    const jshell = join(dirname(realpathSync(path)), 'jshell')
    return existsSync(jshell) ? { path } : { why: `"${path}" is of no JDK with "jshell", Java 11 or newer` }
  }

  return {
    refusal: async (env) => {
      const found = find(env)
      return 'why' in found ? found.why : undefined
    },
    start: async ({ language, cwd, env }, signal) => {
      const found = find(env)
      if ('why' in found)
        throw execdError('INVALID_REQUEST_BODY', `Cannot start the java kernel: ${found.why}`)
      const argv = [found.path, ...OPTIONS, assetPath('kernels/java/Kernel.java')]
      return startKernelProcess(surroundings, { language, path: found.path, argv, cwd, env }, signal)
    },
  }
}
