// One attempt to have a secret go where it must not, as a line of Python over prelude.py and vault.py; what it gives is what it has read.

export type VaultCase = {
  id: string
  what: string
  run: string
  /**
   * What is to arrive of it: its request with the secret, its request without one, or nothing at all. Undefined: what arrives may, as
   * long as no secret is where it must not be.
   */
  arrives?: 'secret' | 'plain' | 'nothing'
  /** What the sandbox is to read. */
  reads?: RegExp
  /** What must not be in anything that arrives of it. */
  lacks?: RegExp
  /** What is recorded of it. */
  event?: RegExp
  /** The sandbox reads the secret: what docs/credential-vault.md says cannot be stopped. */
  isTold?: true
  /** Alone, after all others. */
  isAlone?: true
}

export type Row = [id: string, what: string, run: string, more?: Omit<VaultCase, 'id' | 'what' | 'run'>]

export const rows = (prefix: string, list: readonly Row[]): VaultCase[] =>
  list.map(([id, what, run, more = {}]) => ({ id: `${prefix}-${id}`, what, run, ...more }))
