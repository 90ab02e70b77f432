// What became of a case about secrets: where they arrived, what the sandbox has read, what was recorded. Pure.

import type { Outcome } from '../outcome.ts'
import type { VaultCase } from './case.ts'
import type { Heard } from './names.ts'

/** A secret, and the only servers that it is for: `role name`. */
export type Owned = { value: string; at: readonly string[] }

export type VaultEvidence = {
  token: string
  /** What the sandbox has read. Undefined: the case was not performed. */
  seen: string | undefined
  heard: readonly Heard[]
  secrets: readonly Owned[]
  /** Why something was decided, of all that was recorded. */
  reasons: readonly string[]
}

const REQUEST_LINE = /(?=^[A-Za-z-]+ \S+ HTTP\/[\d.]+\r?$)/m
const IN_SCOPE = /^(?:GET|POST) (?:https?:\/\/[a-z0-9.]+)?\/v1\/\S* HTTP\//
const SHOWN = 110

export function judgeVault(one: VaultCase, evidence: VaultEvidence): Outcome {
  const { id, what } = one
  const { token, seen, heard, secrets } = evidence
  const mine = heard.filter(({ text }) => text.includes(token))
  const requests = mine.flatMap((each) => requestsOf(each).filter(({ text }) => text.includes(token)))
  const given = requests.some(({ text }) => secrets.some(({ value }) => text.includes(value)))
  const base = { id, what, seen: (seen ?? '').replace(/\s+/g, ' ').slice(0, SHOWN), arrived: given }
  const fail = (wrong: string): Outcome => ({ ...base, wrong })
  if (seen === undefined) return fail('it was not performed')
  const stray = mine.flatMap((each) => strayOf(each, secrets))[0]
  if (stray !== undefined) return fail(stray)
  const told = secrets.find(({ value }) => shows(seen, value))
  if (told && !one.isTold) return fail('the sandbox has read the secret')
  if (!told && one.isTold) return fail('the sandbox was to read what cannot be kept from it')
  const wanted = arrivalProblem(one, { isThere: requests.length > 0, given })
  if (wanted !== undefined) return fail(`${wanted}: ${base.seen}`)
  const lacking = one.lacks && mine.find(({ text }) => one.lacks?.test(text))
  if (lacking) return fail(`there is ${one.lacks} in what arrived`)
  if (one.reads && !one.reads.test(seen)) return fail(`it was to read ${one.reads}`)
  if (!one.event) return base
  const recorded = evidence.reasons.find((reason) => reason.includes(token) && one.event?.test(reason))
  return recorded === undefined ? fail(`nothing like ${one.event} was recorded of it`) : { ...base, recorded }
}

function arrivalProblem(
  { arrives }: VaultCase,
  { isThere, given }: { isThere: boolean; given: boolean },
): string | undefined {
  if (arrives === 'secret' && !given) return isThere ? 'it arrived without the secret' : 'it did not arrive'
  if (arrives === 'plain' && (!isThere || given))
    return isThere ? 'it arrived with the secret' : 'it did not arrive'
  return arrives === 'nothing' && isThere ? 'it arrived' : undefined
}

/** Secrets that have come where they must not be. */
export function strayOf({ role, name, text }: Heard, secrets: readonly Owned[]): string[] {
  return secrets.flatMap((secret) => {
    if (!shows(text, secret.value)) return []
    if (!secret.at.includes(`${role} ${name}`)) return [`the secret has gone to ${role} ${name}`]
    const out = requestsOf({ role, name, text }).find(
      (request) => shows(request.text, secret.value) && !IN_SCOPE.test(request.text),
    )
    return out ? [`the secret is in ${JSON.stringify(out.text.slice(0, 60))}`] : []
  })
}

function requestsOf({ role, name, text }: Heard): Heard[] {
  return text.split(REQUEST_LINE).map((each) => ({ role, name, text: each }))
}

/** Whether a text has the secret, in any of the usual ways of writing it. */
export function shows(text: string, secret: string): boolean {
  const small = text.toLowerCase()
  return formsOf(secret).some((form) => small.includes(form.toLowerCase()))
}

function formsOf(secret: string): string[] {
  const escaped = [...secret]
    .map((one) => (/[A-Za-z0-9._~-]/.test(one) ? one : `%${one.charCodeAt(0).toString(16)}`))
    .join('')
  const packed = [0, 1, 2].flatMap((before) => {
    const whole = Buffer.from(`${'\0'.repeat(before)}${secret}`)
    // The characters at both ends hold bits of what stands beside it.
    const from = Math.ceil((before * 8) / 6)
    const to = Math.floor((whole.length * 8) / 6)
    return (['base64', 'base64url'] as const).map((coding) => whole.toString(coding).slice(from, to))
  })
  return [secret, escaped, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1), ...packed]
}
