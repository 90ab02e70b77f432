// The file of tenants (contract: v1.1.md 7.3): `[[tenants]]` with `name`, `namespace` and `api_keys`. Other keys are left alone.

import { hashOfWritten, WRITTEN_KEY } from '../access.ts'
import { tenantName } from './access.ts'
import { isTable, show } from './checks.ts'
import { formatProblem, linesOf, type Path } from './lines.ts'
import { parseToml } from './read-toml.ts'

/** Somebody who is kept elsewhere. By the namespace a tenant is known here: whose objects are whose is told by it. */
export type Tenant = {
  /** For the audit. */
  name: string
  namespace: string
}

/** Tenants by the hashes of their keys. */
export type TenantTable = ReadonlyMap<string, Tenant>

/** Reads the file; `problems` has everything that is wrong with it, with file and line, and no key. */
export function parseTenants(source: string, path: string): { tenants: TenantTable; problems: string[] } {
  const problems: string[] = []
  const tenants = new Map<string, Tenant>()
  const root = parseToml(source, path, problems)
  if (!root) return { tenants, problems }
  const lineOf = linesOf(source)
  const report = (at: Path, problem: string) => {
    problems.push(formatProblem(`${path}:${lineOf(at)}`, at, problem))
  }
  const { tenants: list = [] } = root
  if (!Array.isArray(list) || !list.every(isTable)) {
    report(['tenants'], 'must be a list of tables, each written as [[tenants]]')
    return { tenants, problems }
  }
  // A file that says something, and nothing of tenants, is a mistake; one that is empty is not.
  if (!('tenants' in root) && Object.keys(root).length > 0)
    report([Object.keys(root)[0] ?? ''], 'stands in a file without tenants: each is written as [[tenants]]')

  const names = new Set<unknown>()
  const namespaces = new Set<unknown>()
  for (const [index, table] of list.entries()) {
    const at: Path = ['tenants', index]
    const { name, namespace, api_keys: keys } = table
    for (const key of ['name', 'namespace', 'api_keys'])
      if (!Object.hasOwn(table, key)) report(at, `needs "${key}", and there is none`)
    if (name !== undefined && !isName(name))
      report([...at, 'name'], `must be one line of 1 to 100 characters, but it is ${show(name)}`)
    if (namespace !== undefined && tenantName.read(namespace, report) === undefined)
      report([...at, 'namespace'], `must be ${tenantName.allowed}, but it is ${show(namespace)}`)
    for (const [what, value, seen] of [
      ['name', name, names],
      ['namespace', namespace, namespaces],
    ] as const) {
      if (value !== undefined && seen.has(value))
        report([...at, what], `must be one that no other tenant has, but it is ${show(value)}`)
      seen.add(value)
    }
    if (keys === undefined) continue
    if (!Array.isArray(keys) || keys.length === 0) {
      report([...at, 'api_keys'], 'must be a list of one or more keys, and it is something else')
      continue
    }
    for (const [place, key] of keys.entries()) {
      const hash = typeof key === 'string' ? hashOfWritten(key) : undefined
      if (hash === undefined)
        report([...at, 'api_keys', place], `must be ${WRITTEN_KEY}, but it is something else`)
      else if (tenants.has(hash))
        report(
          [...at, 'api_keys', place],
          `must be a key that stands nowhere else, but it is one of ${show(tenants.get(hash)?.name)}`,
        )
      else tenants.set(hash, { name: textOf(name), namespace: textOf(namespace) })
    }
  }
  return { tenants, problems }
}

/** What is no text has been reported. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && /^[^\p{Cc}]{1,100}$/u.test(value)
}
