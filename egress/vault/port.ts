// What the data path asks of the vault of a sandbox. An answer belongs to one revision and one request head: it is asked for anew
// with every request, so a new revision is in force for the next one.

export const VAULT_SCHEMES = ['http', 'https'] as const
export type VaultScheme = (typeof VAULT_SCHEMES)[number]

/** A server as the client named it, once SNI and Host have been found to agree. The host is in canonical form. */
export type VaultServer = { scheme: VaultScheme; host: string; port: number }

export type VaultRequest = VaultServer & {
  method: string
  /** Path and query as they came, in origin form. */
  target: string
}

export const SUBSTITUTION_PLACES = ['path', 'query', 'header', 'body'] as const
export type SubstitutionPlace = (typeof SUBSTITUTION_PLACES)[number]

/** A text that stands for a secret, where it may stand (substitute.ts puts the secret in its place). */
export type Substitution = { placeholder: string; value: string; in: readonly SubstitutionPlace[] }

export type Injection = {
  kind: 'inject'
  binding: string
  revision: number
  /** To be set, in place of whatever came under these names. */
  headers: readonly (readonly [name: string, value: string])[]
  substitutions: readonly Substitution[]
  /** What no header of the answer may show, longest first: values, and what was made of them. */
  secrets: readonly string[]
}

export type VaultChoice =
  | { kind: 'none' }
  /** Several bindings fit equally well: 403 `credential binding ambiguous`. */
  | { kind: 'ambiguous'; bindings: readonly string[] }
  /** A binding would fit one reading of the request and not another: 400 with the reason. */
  | { kind: 'refused'; binding: string; reason: string }
  | Injection

export type VaultView = {
  readonly revision: number
  /** Whether some request to this server could get a secret: such connections are read, all others are passed on unread. */
  hasBindingFor(server: VaultServer): boolean
  choose(request: VaultRequest): VaultChoice
}

/** By the id of a sandbox. Undefined: nothing of this sandbox is to be read. */
export type Vaults = { vaultOf(sandboxId: string): VaultView | undefined }
