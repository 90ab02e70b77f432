// The part of the port that is about named volumes: files that outlive the sandboxes that mount them. Control decides which there
// are and whose they are; a runtime keeps them under keys that say nothing else.

/** A named volume in a sandbox. */
export type VolumeMount = {
  key: string
  /** What of the volume is mounted: a relative path without `..`, made when it is missing. All of it when absent. */
  subPath?: string
  target: string
  readOnly: boolean
}

export type Volumes = {
  /** Makes an empty volume that the sandboxes' root can write to; fine when it is there. */
  create(key: string, signal: AbortSignal): Promise<void>
  /** Removes a volume that nothing mounts, with all that is in it; fine when there is none. */
  remove(key: string, signal: AbortSignal): Promise<void>
  /** The keys of all that there are. */
  list(signal: AbortSignal): Promise<string[]>
  /** What it takes on the disk. Rejects with the signal's reason when that takes too long to find out. */
  sizeOf(key: string, signal: AbortSignal): Promise<number>
}
