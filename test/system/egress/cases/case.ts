// What one case of the attack suite is. Its program is an expression of Python, in which prelude.py is at hand; nothing of what it
// sends may arrive anywhere, and what egress decided of it must be found in its record.

export type AttackCase = {
  /** Of the weakness that it tries where it has one there, and a word of its own. */
  id: string
  what: string
  run: string
  /**
   * `root`: root of the sandbox as the product makes it. `all`: in the sandbox's network with every capability of this kernel, as if
   * nothing but egress stood in the way.
   */
  as: 'root' | 'all'
  /** It changes the sandbox's network, so it comes after the others. */
  isAlone?: boolean
  expect: 'blocked' | 'allowed'
  /**
   * Where the decision is found: as one on a name, as one on a connection, as packets that say that they come from somebody else, or as
   * frames of a type that nobody takes.
   * `unsent`: the sandbox's own kernel refuses to send it, so that there is nothing to decide. `quiet`: it is answered, or means
   * nothing to anybody, without a decision.
   */
  recorded: 'name' | 'connection' | 'spoofed' | 'frame' | 'unsent' | 'quiet'
}

type Row = readonly [id: string, what: string, run: string, more?: Partial<AttackCase>]

/** Cases that have what is usual in common. */
export function cases(
  usual: Pick<AttackCase, 'as' | 'recorded'> & Partial<AttackCase>,
  rows: readonly Row[],
): AttackCase[] {
  return rows.map(([id, what, run, more]) => ({ id, what, run, expect: 'blocked', ...usual, ...more }))
}
