/** A value as JSON in which the fields of each object are sorted: the order in which somebody wrote them says nothing. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, sortFields) ?? 'null'
}

function sortFields(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)))
}
