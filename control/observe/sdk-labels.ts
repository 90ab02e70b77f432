// What a client says of itself, as the attributes of a metric. Whoever may call the API may say anything, and every combination is kept
// for as long as the program runs: so the languages are those for which there is an SDK, and of each so many versions are told apart.

const LANGUAGES = new Set(['python', 'javascript', 'typescript', 'kotlin', 'java', 'go', 'csharp', 'dotnet'])
const MAX_VERSIONS = 50
const VERSION = /^\d{1,4}(\.\d{1,4}){1,3}([-.+]?(a|b|rc|alpha|beta|dev|post|snapshot)[-.]?\d{0,4})?$/i
const OTHER = 'other'

export type Sdk = { language: string; version: string }

export class SdkLabels {
  readonly #versions = new Map<string, Set<string>>()

  /** The attributes under which a report of `sdk` is counted. */
  of({ language, version }: Sdk): Sdk {
    if (language === 'unknown') return { language, version: 'unknown' }
    if (!LANGUAGES.has(language)) return { language: OTHER, version: OTHER }
    const known = this.#versions.get(language) ?? new Set()
    this.#versions.set(language, known)
    if (!known.has(version)) {
      if (!VERSION.test(version) || known.size >= MAX_VERSIONS) return { language, version: OTHER }
      known.add(version)
    }
    return { language, version }
  }
}
