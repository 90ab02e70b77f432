// Says of the head of a message whether there may be a secret in it, so that the fields of heads without one need not be looked at one by one.

import type { Injection } from '../vault/port.ts'
import { bytesOf, holdsEscaped } from './fields.ts'

export class SecretFinder {
  /** By the list that all injections of one revision of a vault share. */
  readonly #patterns = new WeakMap<readonly string[], RegExp>()

  /** Gives what is to be taken out of the fields of this head; undefined when there is nothing of it in them. */
  injectionIn(head: string, injection: Injection | undefined): Injection | undefined {
    if (!injection) return undefined
    // Names of fields come in any case.
    return this.#patternOf(injection.secrets).test(head) || holdsEscaped(head, injection)
      ? injection
      : undefined
  }

  #patternOf(secrets: readonly string[]): RegExp {
    const known = this.#patterns.get(secrets)
    if (known) return known
    const forms = secrets.filter((secret) => secret !== '').flatMap((secret) => [secret, bytesOf(secret)])
    const pattern = new RegExp(
      [...new Set(forms)].map((form) => RegExp.escape(form)).join('|') || '(?!)',
      'i',
    )
    this.#patterns.set(secrets, pattern)
    return pattern
  }
}
