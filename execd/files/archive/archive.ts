// What the formats of archives have in common.

/** The archive cannot be read; the message goes on from "Cannot unpack the archive as". */
export class ArchiveError extends Error {}

/** The content of one entry, which is read once, at once or piece by piece. */
export type Content = {
  /** How many bytes there are. */
  size: number
  whole(): Promise<Buffer>
  pieces(): AsyncIterable<Buffer>
}
