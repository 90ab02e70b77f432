import { randomBytes } from 'node:crypto'

const LETTERS = 'abcdefghijklmnopqrstuvwxyz'
const ALPHABET = `${LETTERS}234567`

/**
 * A sandbox id: 16 characters of `[a-z2-7]` beginning with a letter, 79 bits of randomness. Without hyphens, so that the
 * host label `{id}-{port}` reads in one way only, and safe as a DNS label (contract: lifecycle.md 9, `id` format).
 */
export function createSandboxId(): string {
  const bytes = randomBytes(16)
  let id = LETTERS[(bytes[0] ?? 0) % LETTERS.length] ?? 'a'
  for (const byte of bytes.subarray(1)) id += ALPHABET[byte & 31]
  return id
}

/** A secret for one sandbox or one program: 32 random bytes as 64 hex characters. */
export function createToken(): string {
  return randomBytes(32).toString('hex')
}

/** A request id: 32 hex characters (contract: lifecycle.md, `X-Request-ID`). */
export function createRequestId(): string {
  return randomBytes(16).toString('hex')
}
