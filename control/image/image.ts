// An image as the local runtime uses it: a root file system that sandboxes share as the lower layer of theirs, and what the
// image says about running it.

export type ImageConfig = {
  env: Record<string, string>
  workdir: string
  uid: number
  gid: number
}

export type Image = {
  /** By what the store finds it. */
  id: string
  /** The unpacked root, its files owned by the mapped range. */
  rootfs: string
  config: ImageConfig
  /** Directories of the host that belong to the image, mounted read-only. */
  hostDirs: string[]
  /** What its registry calls it. */
  digest?: string
}

/**
 * The ids of the host that a sandbox's users 0 to 65535 are. One range for all sandboxes, because the files of an image,
 * which they share, can have only one owner.
 */
export const ID_MAP = { hostId: 1_000_000, size: 65_536 }

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
