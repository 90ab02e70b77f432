// Which of a Jupyter server's kernels runs a language.

import { isRecord } from '../../../lib/is-record.ts'
import type { Language } from '../engine.ts'

/** A kernel that the server can start: its name and the language that it says it speaks. */
export type ServedKernel = { name: string; language: string }

/** Reads the answer of `GET /api/kernelspecs`. Undefined when it is none. */
export function parseKernelspecs(body: unknown): ServedKernel[] | undefined {
  if (!isRecord(body) || !isRecord(body.kernelspecs)) return undefined
  const kernels: ServedKernel[] = []
  for (const [name, entry] of Object.entries(body.kernelspecs)) {
    const spec = isRecord(entry) && isRecord(entry.spec) ? entry.spec : undefined
    if (spec && typeof spec.language === 'string') kernels.push({ name, language: spec.language })
  }
  return kernels
}

/**
 * The kernel for a language. A kernel that someone set up for the purpose goes before `python3`, which is there wherever
 * Jupyter is and may lack what the image offers; where it is the only one, it serves.
 */
export function chooseKernel(kernels: ServedKernel[], language: Language): string | undefined {
  const able = kernels.filter((kernel) => kernel.language.toLowerCase() === language)
  const best =
    able.find(({ name }) => name === language) ?? able.find(({ name }) => name !== 'python3') ?? able[0]
  return best?.name
}

/** The kernels for a message to a person. */
export function describeKernels(kernels: ServedKernel[]): string {
  if (kernels.length === 0) return 'none'
  return kernels.map(({ name, language }) => `"${name}" (${language})`).join(', ')
}
