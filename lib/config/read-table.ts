import { type Check, type Report, show } from './checks.ts'
import type { Path } from './lines.ts'
import { nearestOf } from './nearest.ts'

/** Reads the known keys of a table and reports every other, and every wrong value. */
export function readTable<K extends string>(
  table: Record<string, unknown>,
  at: Path,
  checks: Record<K, Check>,
  report: Report,
): { [P in K]?: unknown } {
  const read: { [P in K]?: unknown } = {}
  const known = Object.keys(checks)
  for (const [key, value] of Object.entries(table)) {
    if (!known.includes(key)) {
      report([...at, key], `is an unknown key: ${allowedKeys(key, known)}`)
      continue
    }
    const check = checks[key as K]
    const result = check.read(value, report)
    if (result === undefined)
      report(
        [...at, key],
        `must be ${check.allowed}, but it is ${check.isSecret ? 'something else' : show(value)}`,
      )
    else read[key as K] = result
  }
  return read
}

/** Which keys there are, and which of them may have been meant. */
function allowedKeys(key: string, known: string[]): string {
  const nearest = nearestOf(key, known)
  return `allowed are ${known.join(', ')}${nearest === undefined ? '' : `; the nearest is "${nearest}"`}`
}
