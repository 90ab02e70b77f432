// The cases about secrets. The place of a case is its number, which its token is made of.

import type { VaultCase } from './case.ts'
import { ANSWERS } from './cases-answers.ts'
import { CONNECTIONS } from './cases-connections.ts'
import { CONTROLS } from './cases-controls.ts'
import { REQUESTS } from './cases-requests.ts'
import { SCOPES } from './cases-scopes.ts'

export const VAULT_CASES: readonly VaultCase[] = [
  ...CONTROLS,
  ...ANSWERS,
  ...REQUESTS,
  ...SCOPES,
  ...CONNECTIONS,
]
