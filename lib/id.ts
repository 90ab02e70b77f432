import { randomBytes, randomUUID } from 'node:crypto'

/**
 * A sandbox id: a UUID, as there are clients that take nothing else (docs/decisions/kotlin-client.md). Safe as a DNS label with
 * a port behind it: read from the right, `{id}-{port}` reads in one way only, as no part of a UUID is as short as a port.
 */
export function createSandboxId(): string {
  return randomUUID()
}

/** A secret for one sandbox or one program: 32 random bytes as 64 hex characters. */
export function createToken(): string {
  return randomBytes(32).toString('hex')
}

/** What opens a sandbox for whoever sends it, as the contract writes it: 24 random bytes in base64url (lifecycle.md 4.3). */
export function createAccessToken(): string {
  return randomBytes(24).toString('base64url')
}

/** The id of a link that was shared: 16 hex characters, no secret. */
export function createShareId(): string {
  return randomBytes(8).toString('hex')
}

/** A request id: 32 hex characters (contract: lifecycle.md, `X-Request-ID`). */
export function createRequestId(): string {
  return randomBytes(16).toString('hex')
}

/** Begins the ids of snapshots that no client sees, because a fork has made them for itself. */
const HIDDEN_PREFIX = 'fork-'

export function createSnapshotId({ hidden }: { hidden: boolean }): string {
  return `${hidden ? HIDDEN_PREFIX : ''}${randomUUID()}`
}

/** Whether a snapshot is one that no client sees. */
export function isHiddenSnapshot(id: string): boolean {
  return id.startsWith(HIDDEN_PREFIX)
}
