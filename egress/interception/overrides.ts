// What a request says beside its first line that some servers go by instead: another method, another path. A binding that is for some
// methods or paths only must not be borrowed for what is asked for there. Pure.

import type { Field } from '../../lib/http1/fields.ts'
import { hyphenated } from './canonical-field.ts'

export type Override = {
  /** What says so, for whoever has to send it without. */
  by: string
  method?: string
  target?: string
}

const METHOD_FIELDS = new Set(['x-http-method-override', 'x-http-method', 'x-method-override'])
const PATH_FIELDS = new Set(['x-original-url', 'x-rewrite-url', 'x-original-uri', 'x-rewrite-uri'])
const METHOD_PARAMETER = '_method'

export function overridesOf(fields: readonly Field[], target: string): Override[] {
  const found: Override[] = []
  for (const { key, value } of fields) {
    const name = hyphenated(key)
    if (METHOD_FIELDS.has(name)) found.push({ by: name, method: value.trim().toUpperCase() })
    if (PATH_FIELDS.has(name)) found.push({ by: name, target: originOf(value.trim()) })
  }
  const query = target.indexOf('?')
  if (query < 0) return found
  for (const part of target.slice(query + 1).split(/[&;]/)) {
    const [name = '', value = ''] = part.split('=', 2)
    // What is no letter in a name is an underscore to some.
    if (
      decoded(name)
        .replace(/[^a-z]/gi, '_')
        .toLowerCase() === METHOD_PARAMETER
    )
      found.push({ by: `${METHOD_PARAMETER} in the query`, method: decoded(value).trim().toUpperCase() })
  }
  return found
}

/** Whether a canonical name is one of those: what comes after a body, as a trailer, is read by nobody here. */
export function isOverride(name: string): boolean {
  return METHOD_FIELDS.has(name) || PATH_FIELDS.has(name)
}

function originOf(text: string): string {
  const path = text.replace(/^[a-z]+:\/\/[^/?]*/i, '')
  return path.startsWith('/') ? path : `/${path}`
}

function decoded(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, digits) => String.fromCharCode(Number.parseInt(digits, 16)))
}
