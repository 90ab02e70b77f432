// Ids that cannot be guessed. The built-in module behind them takes 4 ms to load, a tenth of execd's start, so it is loaded
// at the first id.

/** 32 hexadecimal digits. */
export function createRandomId(): string {
  const { randomBytes } = process.getBuiltinModule('node:crypto')
  return randomBytes(16).toString('hex')
}
