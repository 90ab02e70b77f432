// What of a request's address may be written down: all but what opens something. Pure.

import { TOKEN_IN_PATH } from '../../lib/api/execd.ts'

const MAX_LOGGED = 200
/** Of a signed path, and of what was meant as one. */
const SIGNATURE_IN_PATH = /^(\/[^/]+\/\d+\/[0-9a-z]+\/)[0-9a-f]{8}[^/]*/i
const SIGNATURE_IN_HOST = /^([^.:]*-[0-9a-z]{1,13}-)[0-9a-f]{8}[0-9a-z](?=[.:]|$)/i

/** A path without its query, a token of execd (docs/decisions/kotlin-client.md) and a signature. */
export function loggedPath(target: string): string {
  const path = (target.split('?', 1)[0] ?? '').replace(SIGNATURE_IN_PATH, '$1…')
  const at = path.indexOf(TOKEN_IN_PATH)
  if (at < 0) return path.slice(0, MAX_LOGGED)
  const end = path.indexOf('/', at + TOKEN_IN_PATH.length)
  return `${path.slice(0, at)}${TOKEN_IN_PATH}…${end < 0 ? '' : path.slice(end)}`.slice(0, MAX_LOGGED)
}

/** A host name without a signature. */
export function loggedHost(host: string): string {
  return host.replace(SIGNATURE_IN_HOST, '$1…').slice(0, MAX_LOGGED)
}
