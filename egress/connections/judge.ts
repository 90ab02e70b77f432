// What the readers of a connection's first bytes have in common.

/** Says what is wrong with a name, or nothing when this connection may be for it. The name is as the client wrote it. */
export type CheckName = (name: string) => string | undefined

/** What may be sent on of the bytes so far, and why no more, when something is wrong. */
export type Judged = { pass: Buffer[]; problem?: string }

/** Judges what a client sends, piece by piece. After a problem nothing more may be given. */
export type Judge = { push(chunk: Buffer): Judged }
