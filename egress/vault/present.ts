// What a vault shows of itself: names and where they apply, and nothing of a secret (contract: egress.md 6.5).

import type { Binding, Credential, Vault } from './vault.ts'

export function presentVault(vault: Vault) {
  return {
    revision: vault.revision,
    credentials: presentCredentials(vault),
    bindings: presentBindings(vault),
  }
}

export function presentCredentials({ credentials }: Vault) {
  return sorted(credentials).map(presentCredential)
}

export function presentBindings(vault: Vault) {
  return sorted(vault.bindings).map((binding) => presentBinding(vault, binding))
}

export function presentCredential({ name, revision }: Credential) {
  return { name, sourceType: 'inline', revision }
}

export function presentBinding({ revision }: Vault, { name, match, auth }: Binding) {
  return {
    name,
    revision,
    match,
    auth: {
      type: auth.type,
      ...(auth.type === 'apiKey' && { name: auth.name }),
      // Which headers are set is no secret, and without it nobody can tell what a binding does.
      ...(auth.type === 'customHeaders' && { headers: auth.headers.map(({ name }) => name) }),
    },
  }
}

function sorted<T extends { name: string }>(entries: ReadonlyMap<string, T>): T[] {
  return [...entries.values()].sort((one, other) => (one.name < other.name ? -1 : 1))
}
