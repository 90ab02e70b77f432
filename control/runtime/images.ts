// The part of the port that is about images: what a runtime keeps of them on the machine, how it comes and how it goes. Who may use
// what is decided here too: an image that came by a login is used only by who shows that its registry lets them.

import type { ImageOrigin, PullPolicy } from '../../lib/api/images.ts'
import type { Platform } from '../../lib/api/lifecycle.ts'

export type ImageAuth = { username: string; password: string }

/** An image as somebody asks for it. */
export type ImageRequest = {
  uri: string
  /** Never kept beyond the request. */
  auth?: ImageAuth
  /** The configuration's when absent. */
  policy?: PullPolicy
  /** The machine's own when absent. */
  platform?: Platform
}

/** An image that lies on the machine. */
export type StoredImage = {
  /** Names it for `remove`; says nothing else. */
  id: string
  /** By which names it is known, each written in full. None when its tags have moved on. */
  references: string[]
  /** What its registry calls it, `sha256:…`. */
  digest?: string
  origin: ImageOrigin
  /** What it takes on the disk, unpacked. */
  sizeBytes: number
  /** Whether everybody may use it without a login. */
  isShared: boolean
  createdAt: number
  lastUsedAt: number
  /** How many sandboxes, starts under way, and things that were made of it need it now. */
  users: number
  /** Kept whatever its age: `host`, and what the configuration gives a name. */
  isKept: boolean
}

export const REMOVALS = ['removed', 'absent', 'in_use'] as const
export type Removal = (typeof REMOVALS)[number]

export type Images = {
  /**
   * Brings an image to the machine, if it is not there. `isShared` lets everybody use what came by a login. Rejects with RuntimeError,
   * or the signal's reason; nothing is left then.
   */
  pull(
    request: ImageRequest & { isShared?: boolean },
    signal: AbortSignal,
    progress?: (message: string) => void,
  ): Promise<StoredImage>
  list(signal: AbortSignal): Promise<StoredImage[]>
  /** Removes an image that nothing needs; decided and done in one, so that no start comes in between. */
  remove(id: string, signal: AbortSignal): Promise<Removal>
}
