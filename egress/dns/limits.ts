// How much a sandbox may ask by names. Data leaves a network in the labels of questions and comes in as the text of answers, so what
// is bounded is how many questions there are, how many different names below one registrable domain, how many of these look like data,
// and how many answers of free text. Names that are denied never leave and are only counted as questions.

import { getDomain } from 'tldts'
import type { DnsLimits } from '../../lib/config/egress-services.ts'

/** Why a question is over a limit, in words for the sandbox and for the record. */
export type OverLimit = {
  reason: string
  /** So many were refused for the same since this was last said; undefined when it was said a moment ago. */
  count?: number
}

export type DnsMeter = {
  /** Every question. */
  question(id: string): OverLimit | undefined
  /** One that would be asked for outside. */
  forward(id: string, name: string, type: string): OverLimit | undefined
  remove(id: string): void
}

type Said = { at: number; unsaid: number }
type Window = {
  tokens: number
  refilledAt: number
  startedAt: number
  text: number
  zones: Map<string, { names: Set<string>; encoded: number }>
  said: Map<string, Said>
}

const WINDOW_MS = 60_000
/** Of one sandbox within a minute; of more, those are forgotten first below which there was next to nothing. */
const MAX_ZONES = 1024
const FEW_NAMES = 2
const SAY_EVERY_MS = 1000
/** A label of so many characters and so many bits in each is data rather than a word: hexadecimal has 4 bits, base 32 has 5. */
const ENCODED_CHARACTERS = 24
const ENCODED_BITS = 3
/** So is what has more labels, or more characters, before its domain than any host's name. */
const ENCODED_LABELS = 8
const LONG_CHARACTERS = 80

export function createDnsMeter(limits: DnsLimits, now: () => number = Date.now): DnsMeter {
  const windows = new Map<string, Window>()

  return {
    question(id) {
      const at = now()
      const window = windowOf(id, at)
      const refill = ((at - window.refilledAt) / 1000) * limits.queriesPerSecond
      window.tokens = Math.min(limits.burst, window.tokens + refill)
      window.refilledAt = at
      if (window.tokens < 1)
        return over(window, at, `more than ${limits.queriesPerSecond} questions a second (rate limit)`)
      window.tokens -= 1
      return undefined
    },
    forward(id, name, type) {
      const at = now()
      const window = windowOf(id, at)
      if (type === 'TXT' && ++window.text > limits.textPerMinute)
        return over(window, at, `more than ${limits.textPerMinute} questions for texts a minute (text limit)`)
      const zone = zoneOf(name)
      const seen = zoneWindow(window, zone)
      if (seen.names.has(name)) return undefined
      if (seen.names.size >= limits.namesPerZonePerMinute) {
        const { namesPerZonePerMinute } = limits
        return over(
          window,
          at,
          `more than ${namesPerZonePerMinute} different names below ${zone} a minute (name limit)`,
        )
      }
      if (looksEncoded(name, zone)) {
        const { encodedNamesPerZonePerMinute: most } = limits
        if (seen.encoded >= most)
          return over(
            window,
            at,
            `more than ${most} names below ${zone} a minute that look like data (tunnel limit)`,
          )
        seen.encoded++
      }
      seen.names.add(name)
      return undefined
    },
    remove: (id) => void windows.delete(id),
  }

  function windowOf(id: string, at: number): Window {
    const known = windows.get(id)
    const window = known ?? {
      tokens: limits.burst,
      refilledAt: at,
      startedAt: at,
      text: 0,
      zones: new Map(),
      said: new Map(),
    }
    if (!known) windows.set(id, window)
    else if (at - window.startedAt >= WINDOW_MS) {
      window.startedAt = at
      window.text = 0
      window.zones.clear()
    }
    return window
  }
}

/** The registrable domain that a name is in, by the public suffix list; the name itself when it is none. */
export function zoneOf(name: string): string {
  return getDomain(name, { allowPrivateDomains: true, validateHostname: false }) ?? name
}

/** Whether what stands before the domain looks like data. Pure. */
export function looksEncoded(name: string, zone: string): boolean {
  const own = name.slice(0, Math.max(name.length - zone.length - 1, 0))
  if (own.length >= LONG_CHARACTERS) return true
  const labels = own.split('.')
  if (labels.length >= ENCODED_LABELS) return true
  return labels.some((label) => label.length >= ENCODED_CHARACTERS && bitsPerCharacter(label) >= ENCODED_BITS)
}

/** Shannon's entropy of a text's characters. */
export function bitsPerCharacter(text: string): number {
  const counts = new Map<string, number>()
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1)
  let bits = 0
  for (const count of counts.values()) bits -= (count / text.length) * Math.log2(count / text.length)
  return bits
}

function zoneWindow({ zones }: Window, zone: string): { names: Set<string>; encoded: number } {
  const known = zones.get(zone)
  if (known) return known
  if (zones.size >= MAX_ZONES) {
    const [first] = zones.keys()
    const [small = first] = [...zones].find(([, { names }]) => names.size <= FEW_NAMES) ?? []
    if (small !== undefined) zones.delete(small)
  }
  const made = { names: new Set<string>(), encoded: 0 }
  zones.set(zone, made)
  return made
}

/** A program that is over a limit goes on for a while: it is said once a second, with how often. */
function over({ said }: Window, at: number, reason: string): OverLimit {
  // Of what kind it is stands at its end; the domain in it is the sandbox's to choose.
  const kind = reason.slice(reason.lastIndexOf('('))
  const known = said.get(kind)
  if (known && at - known.at < SAY_EVERY_MS) {
    known.unsaid++
    return { reason }
  }
  said.set(kind, { at, unsaid: 0 })
  return { reason, count: 1 + (known?.unsaid ?? 0) }
}
