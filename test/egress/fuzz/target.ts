// What a fuzzed reader of egress has to offer.

import type { Random } from '../../gateway/strict/mutate.ts'

export type FuzzTarget = {
  /** The next case, as what is printed when something is wrong with it. */
  make(random: Random): string
  /** What is wrong with how a case was read; undefined when nothing is. */
  check(made: string): Promise<string | undefined> | string | undefined
  close?(): void
  /** Cases that were wrong once, or that are on the edge: replayed by every run of the tests. */
  corpus: readonly string[]
}

export const hex = (bytes: Buffer) => bytes.toString('hex')
export const unhex = (text: string) => Buffer.from(text, 'hex')
