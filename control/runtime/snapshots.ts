// The part of the port that is about snapshots: the file system of a running sandbox, as it was at one moment, kept so that more
// sandboxes can be made from it. A runtime that has it also takes `snapshotId` in the spec of a create.

export type RuntimeSnapshot = {
  id: string
  /** What it takes on the disk beyond what it was taken on top of. */
  sizeBytes: number
  /** It lies upon its image alone, though its sandbox lay upon other snapshots. */
  isWhole?: boolean
  /** Of its content, `sha256:…`, where that is known already. */
  digest?: string
}

export type Snapshots = {
  /** Why none can be taken of any sandbox here, in words for the API's caller; absent where they can. */
  readonly unsupported?: string
  /**
   * Keeps the files of a running sandbox, which goes on and answers: at most it stands still for a moment. Nothing of what the
   * sandbox was given at its create is in it: variables, tokens, labels, its own /etc/hosts and resolv.conf, volumes. When it rejects,
   * with RuntimeError or the signal's reason, nothing of the snapshot is left; when this process dies, `list` shows it whole or not
   * at all, and what is left of it is gone with the next start.
   */
  create(sandboxId: string, snapshotId: string, signal: AbortSignal): Promise<RuntimeSnapshot>
  /** Sees to it that a power cut cannot take it any more, and reads its digest. It can be used before, and without. */
  seal(snapshotId: string, signal: AbortSignal): Promise<{ digest: string }>
  /** Fine when there is none. Rejects with `in_use` when there are sandboxes made from it. */
  remove(snapshotId: string, signal: AbortSignal): Promise<void>
  /** Those that are whole. */
  list(signal: AbortSignal): Promise<RuntimeSnapshot[]>
}
