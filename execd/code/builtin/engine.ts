// Our own kernels, one process each, run by the interpreters of the image.

import type { Surroundings } from '../../surroundings.ts'
import type { Engine, Kernel, KernelSpec, Language } from '../engine.ts'

/** What starts the kernels of a language. */
export type KernelStarter = {
  /** Which program is missing, in words for the caller, or undefined when none is. */
  refusal(env: Record<string, string>): Promise<string | undefined>
  start(spec: KernelSpec, signal: AbortSignal): Promise<Kernel>
}

type LoadStarter = (surroundings: Surroundings) => Promise<KernelStarter>

const STARTERS: Record<Language, LoadStarter> = {
  python: async (surroundings) => (await import('./python.ts')).pythonStarter(surroundings),
  javascript: async (surroundings) =>
    (await import('./javascript.ts')).javascriptStarter(surroundings, 'javascript'),
  typescript: async (surroundings) =>
    (await import('./javascript.ts')).javascriptStarter(surroundings, 'typescript'),
  bash: async (surroundings) => (await import('./bash.ts')).bashStarter(surroundings),
  go: async (surroundings) => (await import('./go.ts')).goStarter(surroundings),
  java: async (surroundings) => (await import('./java.ts')).javaStarter(surroundings),
}

export function createBuiltinEngine(surroundings: Surroundings): Engine {
  const loaded = new Map<Language, Promise<KernelStarter>>()
  const starterOf = (language: Language): Promise<KernelStarter> => {
    let starter = loaded.get(language)
    if (!starter) {
      starter = STARTERS[language](surroundings)
      loaded.set(language, starter)
    }
    return starter
  }
  return {
    name: 'builtin',
    refusal: async (language, env) => (await starterOf(language)).refusal(env),
    start: async (spec, signal) => (await starterOf(spec.language)).start(spec, signal),
  }
}
