// Metadata follow the rules of Kubernetes labels (contract: lifecycle.md 2.4), so that a sandbox can move to a cluster.

import type { MetadataPatch } from '../../lib/api/lifecycle.ts'
import { refusal } from '../errors.ts'

const RESERVED = 'opensandbox.io/'
const NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/
const PREFIX = /^(?:[a-z0-9]([-a-z0-9]*[a-z0-9])?\.)*[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const MAX_ENTRIES = 1000
/** Pairs of one filter. Each is a condition of its own, and SQLite takes a thousand. */
const MAX_FILTER = 100

/** Throws a 400 unless every key and value may be metadata of a sandbox. */
export function checkMetadata(metadata: Record<string, string>): void {
  const entries = Object.entries(metadata)
  if (entries.length > MAX_ENTRIES) refuse(`metadata must have at most ${MAX_ENTRIES} entries`)
  for (const [key, value] of entries) {
    const slash = key.indexOf('/')
    const prefix = slash < 0 ? undefined : key.slice(0, slash)
    const name = key.slice(slash + 1)
    if (key.startsWith(RESERVED))
      refuse(`a metadata key must not begin with "${RESERVED}", which is reserved`)
    if (prefix !== undefined && (prefix.length > 253 || !PREFIX.test(prefix)))
      refuse(
        'the part of a metadata key before "/" must be a lower-case domain name of at most 253 characters',
      )
    if (name.length > 63 || !NAME.test(name))
      refuse(
        'a metadata key must have 1 to 63 characters of A-Z, a-z, 0-9, "-", "_" and ".", a letter or digit first and last',
      )
    if (value.length > 63 || (value !== '' && !NAME.test(value)))
      refuse(
        'a metadata value must be empty, or have at most 63 characters of A-Z, a-z, 0-9, "-", "_" and ".", a letter or digit first and last',
      )
  }
}

/** The metadata after a patch: texts are set, null removes. Reserved keys are refused even when they would be removed. */
export function patchMetadata(current: Record<string, string>, patch: MetadataPatch): Record<string, string> {
  const entries = Object.entries(patch)
  if (entries.some(([key]) => key.startsWith(RESERVED)))
    throw refusal('INVALID_METADATA_LABEL', `metadata keys that begin with "${RESERVED}" are reserved`)
  const set = Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== null))
  checkMetadata(set)
  const patched = { ...current, ...set }
  for (const [key, value] of entries) if (value === null) delete patched[key]
  if (Object.keys(patched).length > MAX_ENTRIES) refuse(`metadata must have at most ${MAX_ENTRIES} entries`)
  return patched
}

/**
 * The `metadata` filter of a list: a query string inside a query value, so it arrives here decoded once and is decoded once
 * more (contract: lifecycle.md 2.3). The last of equal keys counts.
 */
export function parseMetadataFilter(value: string): [string, string][] {
  if (value === '') return []
  const pairs = new Map<string, string>()
  const segments = value.split('&', MAX_FILTER + 1)
  if (segments.length > MAX_FILTER)
    throw refusal('INVALID_METADATA_FORMAT', `metadata must have at most ${MAX_FILTER} pairs`)
  for (const segment of segments) {
    const equals = segment.indexOf('=')
    if (equals < 0)
      throw refusal('INVALID_METADATA_FORMAT', 'metadata must have the form "key=value&key2=value2"')
    pairs.set(decodeForm(segment.slice(0, equals)), decodeForm(segment.slice(equals + 1)))
  }
  return [...pairs]
}

function decodeForm(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch (error) {
    throw refusal('INVALID_METADATA_FORMAT', 'metadata holds a "%" that is not followed by two hex digits', {
      cause: error,
    })
  }
}

function refuse(message: string): never {
  throw refusal('SANDBOX::INVALID_METADATA_LABEL', message)
}
