// Which engine runs a language.

import { expect, test } from 'vitest'
import type { Engine, Language } from '../../../execd/code/engine.ts'
import { chooseEngine } from '../../../execd/code/engines.ts'

const engine = (name: Engine['name'], languages: Language[], reason: string): Engine => ({
  name,
  refusal: async (language) => (languages.includes(language) ? undefined : `${reason} for ${language}`),
  start: async () => {
    throw new Error('is not started here')
  },
})

const jupyter = engine('jupyter', ['python', 'java'], 'no kernel')
const builtin = engine('builtin', ['python', 'bash'], 'no program')

test.each([
  ['python', 'jupyter'],
  ['java', 'jupyter'],
  ['bash', 'builtin'],
] as const)('%s is run by %s', async (language, name) => {
  expect((await chooseEngine([jupyter, builtin], language, {})).name).toBe(name)
})

test('J9: a language that none can run is refused with every reason, and with what there is', async () => {
  await expect(chooseEngine([jupyter, builtin], 'go', {})).rejects.toMatchObject({
    status: 400,
    message: 'Cannot run go here: no kernel for go; no program for go. Available here: python, bash, java',
  })
  await expect(chooseEngine([], 'go', {})).rejects.toThrow('Available here: no language')
})
