// Which engine runs a language here. A Jupyter server is used when the sandbox was told of one and it can run the language;
// else our own kernels run what the image has. Both are loaded at their first use.

import { execdError } from '../http/answer.ts'
import type { Surroundings } from '../surroundings.ts'
import { createBuiltinEngine } from './builtin/engine.ts'
import { type Engine, LANGUAGES, type Language } from './engine.ts'

/** All engines of this sandbox, the preferred one first. */
export async function createEngines(surroundings: Surroundings): Promise<Engine[]> {
  const builtin = createBuiltinEngine(surroundings)
  if (!surroundings.bootEnv.JUPYTER_HOST) return [builtin]
  const { createJupyterEngine } = await import('./jupyter/engine.ts')
  return [createJupyterEngine(surroundings), builtin]
}

/** The first engine that can run the language. Throws a refusal that names what is missing and what there is. */
export async function chooseEngine(
  engines: readonly Engine[],
  language: Language,
  env: Record<string, string>,
): Promise<Engine> {
  const reasons: string[] = []
  for (const engine of engines) {
    const reason = await engine.refusal(language, env)
    if (reason === undefined) return engine
    reasons.push(reason)
  }
  const others = await Promise.all(
    LANGUAGES.map(async (other) => {
      const refusals = await Promise.all(engines.map((engine) => engine.refusal(other, env)))
      return refusals.includes(undefined) ? [other] : []
    }),
  )
  const available = others.flat()
  throw execdError(
    'INVALID_REQUEST_BODY',
    `Cannot run ${language} here: ${reasons.join('; ')}. Available here: ${available.join(', ') || 'no language'}`,
  )
}
