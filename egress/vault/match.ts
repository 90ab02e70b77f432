// Which secret a request gets (contract: egress.md 6.6): an exact name is asked before a pattern, and two that fit equally well give
// nothing to anybody. Pure: a view is made for a revision, and asked for every request.

import { fitsPatterns } from './path.ts'
import type { Injection, VaultChoice, VaultRequest, VaultServer, VaultView } from './port.ts'
import { type Binding, headersOf, type Vault } from './vault.ts'
import { unpackedBasic, writtenForms } from './written.ts'

const NONE: readonly Binding[] = []

/** What the data path sees of a vault. */
export function viewOf(vault: Vault): VaultView {
  const byHost = new Map<string, Binding[]>()
  for (const binding of vault.bindings.values())
    for (const host of binding.match.hosts) byHost.set(host, [...(byHost.get(host) ?? []), binding])
  const secrets = secretsOf(vault)
  const injections = new Map<Binding, Injection>()
  const injectionFor = (binding: Binding): Injection => {
    const known = injections.get(binding)
    if (known) return known
    const injection = injectionOf(vault, binding, secrets)
    injections.set(binding, injection)
    return injection
  }
  const hasWildcards = [...byHost.keys()].some((host) => host.startsWith('*'))
  const wildcardsOf = (host: string): readonly Binding[] => {
    if (!hasWildcards) return NONE
    const found = new Set<Binding>()
    for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1))
      for (const binding of byHost.get(`*${host.slice(dot)}`) ?? NONE) found.add(binding)
    return [...found]
  }
  /** Those that name the host itself, then those that name what it is below, each with every way that fits. */
  const levelsOf = ({ scheme, host, port }: VaultServer): Binding[][] => {
    const fits = ({ match }: Binding) => match.schemes.includes(scheme) && match.ports.includes(port)
    return [(byHost.get(host) ?? NONE).filter(fits), wildcardsOf(host).filter(fits)]
  }
  return {
    revision: vault.revision,
    hasBindingFor: (server) => levelsOf(server).some((level) => level.length > 0),
    choose: (request) => {
      const chosen = choose(levelsOf(request), request)
      if (!('chosen' in chosen)) return chosen
      return injectionFor(chosen.chosen)
    },
  }
}

function choose(
  levels: Binding[][],
  { method, target }: VaultRequest,
): Exclude<VaultChoice, Injection> | { chosen: Binding } {
  const query = target.indexOf('?')
  const path = query < 0 ? target : target.slice(0, query)
  for (const level of levels) {
    const fitting: Binding[] = []
    for (const binding of level) {
      if (!binding.match.methods.includes(method)) continue
      const fit = fitsPatterns(path, binding.match.paths)
      if (fit === 'depends')
        return {
          kind: 'refused',
          binding: binding.name,
          reason:
            'credential binding depends on how the path is read: send it without "..", "//", "\\", ";" and encoded slashes or dots',
        }
      if (fit === 'fits') fitting.push(binding)
    }
    if (fitting.length > 1) return { kind: 'ambiguous', bindings: fitting.map(({ name }) => name) }
    const [chosen] = fitting
    if (chosen) return { chosen }
  }
  return { kind: 'none' }
}

function injectionOf(vault: Vault, { name, auth }: Binding, secrets: readonly string[]): Injection {
  return {
    kind: 'inject',
    binding: name,
    revision: vault.revision,
    headers: headersOf(auth).map((header) => [
      header.name,
      header.prefix + secretFor(vault, header.credential),
    ]),
    substitutions: auth.substitutions.map(({ credential, placeholder, in: places }) => ({
      placeholder,
      value: secretFor(vault, credential),
      in: places,
    })),
    secrets,
  }
}

/** All values, and what bindings make of them, in every way of writing them, longest first, so that none is found within another. */
function secretsOf(vault: Vault): string[] {
  const found = new Set<string>()
  const add = (secret: string) => {
    for (const form of writtenForms(secret)) found.add(form)
  }
  for (const { value } of vault.credentials.values()) add(value)
  for (const { auth } of vault.bindings.values()) {
    for (const { prefix, credential } of headersOf(auth)) found.add(prefix + secretFor(vault, credential))
    if (auth.type === 'basic') for (const text of unpackedBasic(secretFor(vault, auth.credential))) add(text)
  }
  return [...found].sort((one, other) => other.length - one.length)
}

function secretFor({ credentials }: Vault, name: string): string {
  const found = credentials.get(name)
  // A vault is whole: it was judged when it was made.
  if (!found) throw new Error('A binding names a credential that the vault does not have')
  return found.value
}
