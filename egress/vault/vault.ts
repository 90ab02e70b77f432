// What a vault holds: secrets by name, and for which requests they are (contract: egress.md 6). Values, never changed in place.

import { ApiError } from '../../lib/errors.ts'
import type { SubstitutionPlace, VaultScheme } from './port.ts'

export type Credential = {
  name: string
  value: string
  /** The vault's revision when it was last set. */
  revision: number
}

export type Match = {
  schemes: readonly VaultScheme[]
  ports: readonly number[]
  /** Names in canonical form, or `*.` and a name. */
  hosts: readonly string[]
  methods: readonly string[]
  /** A path, or what paths begin with and `*`. */
  paths: readonly string[]
}

/** A text that stands for a secret, by the secret's name. */
export type Placeholder = { credential: string; placeholder: string; in: readonly SubstitutionPlace[] }

export type Auth = (
  | { type: 'bearer' | 'basic'; credential: string }
  | { type: 'apiKey'; name: string; credential: string }
  | { type: 'customHeaders'; headers: readonly { name: string; credential: string }[] }
  | { type: 'passthrough' }
) & { substitutions: readonly Placeholder[] }

export type Binding = { name: string; match: Match; auth: Auth }

export type Vault = {
  /** 1 when it was made, and one more with each change. */
  revision: number
  credentials: ReadonlyMap<string, Credential>
  bindings: ReadonlyMap<string, Binding>
}

/** So many of each may one vault hold. */
export const MAX_VAULT_ENTRIES = 1000

/** What a caller hears of a vault that cannot be made so: it names the field, and never holds a secret. */
export function vaultProblem(message: string): ApiError {
  return new ApiError(400, 'INVALID_VAULT', message)
}

/** The headers that a binding sets, and by which secret. */
export function headersOf(auth: Auth): { name: string; prefix: string; credential: string }[] {
  switch (auth.type) {
    case 'bearer':
      return [{ name: 'Authorization', prefix: 'Bearer ', credential: auth.credential }]
    case 'basic':
      return [{ name: 'Authorization', prefix: 'Basic ', credential: auth.credential }]
    case 'apiKey':
      return [{ name: auth.name, prefix: '', credential: auth.credential }]
    case 'customHeaders':
      return auth.headers.map((header) => ({ ...header, prefix: '' }))
    case 'passthrough':
      return []
  }
}
