// How a vault comes to be and changes (contract: egress.md 6.4): against a copy, which is then judged as a whole. Pure.

import { ApiError } from '../../lib/errors.ts'
import type { GivenCredential, VaultMutation, VaultRequestBody } from './parse.ts'
import { patternsOverlap } from './path.ts'
import {
  type Binding,
  type Credential,
  headersOf,
  MAX_VAULT_ENTRIES,
  type Match,
  type Vault,
  vaultProblem,
} from './vault.ts'

/** What may stand in a header, without what some would cut off at its ends. */
const HEADER_VALUE = /^[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?$/

/** The first revision of a vault. Throws 400. */
export function createVault({ credentials, bindings }: VaultRequestBody): Vault {
  return changed(
    { revision: 0, credentials: new Map(), bindings: new Map() },
    {
      credentials: { add: credentials, replace: [], delete: [] },
      bindings: { add: bindings, replace: [], delete: [] },
    },
  )
}

/** The next revision, or the same vault when nothing is to be changed. Throws 409 for another revision than was expected, or 400. */
export function changeVault(vault: Vault, mutation: VaultMutation): Vault {
  const { expectedRevision, credentials, bindings } = mutation
  if (expectedRevision !== undefined && expectedRevision !== vault.revision)
    throw new ApiError(
      409,
      'CONFLICT',
      `expectedRevision is ${expectedRevision}, but the credential vault has revision ${vault.revision}`,
    )
  const all = [credentials, bindings].flatMap((changes) => [changes.add, changes.replace, changes.delete])
  return all.every((changes) => changes.length === 0) ? vault : changed(vault, mutation)
}

function changed(vault: Vault, mutation: VaultMutation): Vault {
  const revision = vault.revision + 1
  const next = {
    revision,
    credentials: applied(vault.credentials, 'credential', {
      ...mutation.credentials,
      make: ({ name, value }: GivenCredential): Credential => ({ name, value, revision }),
    }),
    bindings: applied(vault.bindings, 'binding', {
      ...mutation.bindings,
      make: (binding: Binding) => binding,
    }),
  }
  requireWhole(next)
  return next
}

function applied<Given extends { name: string }, Kept>(
  current: ReadonlyMap<string, Kept>,
  what: string,
  changes: { add: Given[]; replace: Given[]; delete: string[]; make: (given: Given) => Kept },
): Map<string, Kept> {
  const next = new Map(current)
  const used = new Set<string>()
  const use = (name: string, { isThere }: { isThere: boolean }) => {
    const shown = JSON.stringify(name)
    if (used.has(name)) throw vaultProblem(`${what} ${shown} is named twice in one request`)
    used.add(name)
    if (isThere && !current.has(name)) throw vaultProblem(`${what} ${shown} does not exist`)
    if (!isThere && current.has(name)) throw vaultProblem(`${what} ${shown} exists already: replace it`)
  }
  for (const name of changes.delete) {
    use(name, { isThere: true })
    next.delete(name)
  }
  for (const given of changes.replace) {
    use(given.name, { isThere: true })
    next.set(given.name, changes.make(given))
  }
  for (const given of changes.add) {
    use(given.name, { isThere: false })
    next.set(given.name, changes.make(given))
  }
  if (next.size > MAX_VAULT_ENTRIES)
    throw vaultProblem(`a vault has at most ${MAX_VAULT_ENTRIES} ${what}s, but this would have ${next.size}`)
  return next
}

/** Every secret that is named is there and can be sent as it is meant, and no request fits two bindings equally well. */
function requireWhole({ credentials, bindings }: Vault): void {
  const known = [...bindings.values()]
  for (const [index, { name, match, auth }] of known.entries()) {
    const shown = JSON.stringify(name)
    const secretOf = (credential: string): string => {
      const found = credentials.get(credential)
      if (found) return found.value
      throw vaultProblem(`binding ${shown} references unknown credential ${JSON.stringify(credential)}`)
    }
    for (const header of headersOf(auth))
      if (!HEADER_VALUE.test(secretOf(header.credential)))
        throw vaultProblem(
          `binding ${shown} sets the header "${header.name}", but the value of credential ${JSON.stringify(header.credential)} cannot stand in a header: it must be printable ASCII, on one line, without spaces at its ends`,
        )
    for (const { credential, in: places } of auth.substitutions)
      if (!HEADER_VALUE.test(secretOf(credential)) && places.includes('header'))
        throw vaultProblem(
          `binding ${shown} puts credential ${JSON.stringify(credential)} into headers, but its value cannot stand in one`,
        )
    const rival = known.slice(0, index).find((other) => areAmbiguous(match, other.match))
    if (rival)
      throw vaultProblem(
        `bindings ${JSON.stringify(rival.name)} and ${shown} fit the same requests equally well`,
      )
  }
}

function areAmbiguous(one: Match, other: Match): boolean {
  return (
    shareAny(one.schemes, other.schemes) &&
    shareAny(one.ports, other.ports) &&
    shareAny(one.methods, other.methods) &&
    one.hosts.some((host) => other.hosts.some((otherHost) => hostsOverlap(host, otherHost))) &&
    one.paths.some((path) => other.paths.some((otherPath) => patternsOverlap(path, otherPath)))
  )
}

/** A name and a pattern never do: the name is asked first. */
function hostsOverlap(one: string, other: string): boolean {
  if (one === other) return true
  if (!one.startsWith('*.') || !other.startsWith('*.')) return false
  return one.endsWith(other.slice(1)) || other.endsWith(one.slice(1))
}

function shareAny<T>(one: readonly T[], other: readonly T[]): boolean {
  return one.some((entry) => other.includes(entry))
}
