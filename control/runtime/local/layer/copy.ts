// A copy of what a sandbox has written, made in passes: the first while it runs, the last while it stands still. Of each file it is
// kept which one it was and when it was changed last, so a later pass reads anew only what has been changed since; and of each
// directory which one it was, so one that took another's place is not mixed up with it.

import { type Entry, isUnchanged, newDirectory, noteOf, sizeOf, type Tree } from './entry.ts'
import { DOT, ITSELF, KIND, type Libc, type Name, nameOf, type Stat } from './libc.ts'

/** What has more than this is refused: it would fill the memory of this process, or its table of open files. */
const MAX_ENTRIES = 2_000_000
const MAX_DEPTH = 500
/** How overlayfs says that nothing below a directory is seen through it, and that what is below it lies elsewhere. */
const OPAQUE = Buffer.from('trusted.overlay.opaque\0')
const REDIRECT = Buffer.from('trusted.overlay.redirect\0')
/** What overlayfs notes for itself, about the layers that were below. */
const OF_THE_UPPER = /^trusted\.overlay\.(origin|impure|nlink|upper|uuid)\0$/

export type PassResult = { entries: number; changed: number; bytes: number }

export type PassOptions = {
  /** Whether it may change meanwhile: what is gone in the middle of it is left to the next pass. */
  isLive: boolean
  /** Paths that are read anew, whatever their times say: programs write to them through memory. */
  forced?: ReadonlySet<string>
}

/** The tree is refused, in words for whoever asked. */
export class TreeRefused extends Error {}

export class LayerCopy {
  readonly #libc: Libc
  readonly #from: number
  readonly #to: number
  readonly #tree: Tree = newDirectory()
  readonly #leaveOut: ReadonlySet<string>
  readonly #isBelow: boolean
  #result: PassResult = { entries: 0, changed: 0, bytes: 0 }
  #options: PassOptions = { isLive: false }
  /** Files with several names that were copied in this pass, by which file it is: where the first of them is. */
  #linked = new Map<bigint, string>()

  /**
   * Copies below the open directory `from` into the open, empty directory `to`. `leaveOut` are paths that are not copied. With `isBelow`,
   * `to` is a layer that lies upon `from`, and becomes one that shows what both did.
   */
  constructor(
    libc: Libc,
    {
      from,
      to,
      leaveOut,
      isBelow = false,
    }: { from: number; to: number; leaveOut: ReadonlySet<string>; isBelow?: boolean },
  ) {
    this.#libc = libc
    this.#from = from
    this.#to = to
    this.#leaveOut = leaveOut
    this.#isBelow = isBelow
  }

  /** One pass over everything. */
  pass(options: PassOptions): PassResult {
    this.#options = options
    this.#result = { entries: 0, changed: 0, bytes: 0 }
    this.#linked = new Map()
    const [root, over] = [this.#libc.stat(this.#from, ITSELF), this.#libc.stat(this.#to, ITSELF)]
    if (!root || !over) throw new Error('The directory that is copied is not there')
    this.#syncDirectory(this.#from, this.#to, this.#tree, '', 0)
    if (this.#isBelow) this.#libc.setTimes(this.#to, DOT, over)
    else this.#copyMeta(this.#from, ITSELF, this.#to, ITSELF, root)
    return this.#result
  }

  /** What the copy takes on the disk, each file once. */
  sizeBytes(): number {
    return sizeOf(this.#tree)
  }

  #syncDirectory(from: number, to: number, tree: Tree, path: string, depth: number): boolean {
    if (depth > MAX_DEPTH) throw new TreeRefused(`it has directories nested more than ${MAX_DEPTH} deep`)
    const gone = new Set(tree.keys())
    let isChanged = false
    for (const name of this.#libc.names(from)) {
      if (++this.#result.entries > MAX_ENTRIES)
        throw new TreeRefused(`it has more than ${MAX_ENTRIES} files of its own`)
      const key = name.toString('latin1', 0, name.length - 1)
      const at = path === '' ? key : `${path}/${key}`
      if (this.#leaveOut.has(at)) continue
      const found = this.#libc.stat(from, name)
      // It went while the directory was read.
      if (!found) continue
      const place = { name, key, at, found, tree, depth }
      const over = this.#isBelow ? this.#libc.stat(to, name) : undefined
      if (over) this.#syncBelow(from, to, place, over)
      else if (this.#sync(from, to, place)) isChanged = true
      if (tree.has(key)) gone.delete(key)
    }
    for (const key of gone) {
      this.#remove(to, key, tree)
      isChanged = true
    }
    return isChanged
  }

  /** Of what lies below something of the same name, only what two directories have together is seen. */
  #syncBelow(from: number, to: number, { name, key, at, found, tree, depth }: Place, over: Stat): void {
    if (found.kind !== KIND.directory || over.kind !== KIND.directory) return
    const inside = this.#openSame(from, name, found)
    if (inside === undefined) return
    try {
      const target = this.#openOurs(to, name)
      try {
        if (this.#opaque(target)) return
        const opaque = this.#opaque(inside)
        const below = newDirectory()
        tree.set(key, { ...noteOf(found), blocks: 0, below })
        this.#syncDirectory(inside, target, below, at, depth + 1)
        if (opaque) this.#libc.setAttribute(target, ITSELF, opaque)
        this.#libc.setTimes(target, DOT, over)
      } finally {
        this.#libc.close(target)
      }
    } finally {
      this.#libc.close(inside)
    }
  }

  /** What says of a directory that nothing is seen through it. */
  #opaque(directory: number): [name: Buffer, value: Buffer] | undefined {
    const attributes = this.#libc.attributes(directory, ITSELF)
    if (attributes.some(([attribute]) => attribute.equals(REDIRECT)))
      throw new TreeRefused('it has a directory that was renamed over several of its layers')
    return attributes.find(([attribute]) => attribute.equals(OPAQUE))
  }

  /** Brings one name up to date; whether anything was done. */
  #sync(from: number, to: number, { name, key, at, found, tree, depth }: Place): boolean {
    const before = tree.get(key)
    const isSame = before !== undefined && before.inode === found.inode && before.kind === found.kind
    if (isSame && before.below)
      return this.#syncKnown(from, to, { name, at, found, before, below: before.below, depth })
    if (isSame && isUnchanged(before, found) && !this.#options.forced?.has(at)) return false
    if (before) this.#remove(to, key, tree)
    this.#result.changed += 1
    const copied = this.#create(from, to, { name, key, at, found, tree, depth })
    return copied || before !== undefined
  }

  #syncKnown(
    from: number,
    to: number,
    {
      name,
      at,
      found,
      before,
      below,
      depth,
    }: { name: Name; at: string; found: Stat; before: Entry; below: Tree; depth: number },
  ): boolean {
    const inside = this.#openSame(from, name, found)
    if (inside === undefined) return false
    try {
      const target = this.#openOurs(to, name)
      try {
        const isChanged = this.#syncDirectory(inside, target, below, at, depth + 1)
        if (isChanged || !isUnchanged(before, found)) this.#copyMeta(inside, ITSELF, target, ITSELF, found)
        Object.assign(before, noteOf(found))
      } finally {
        this.#libc.close(target)
      }
    } finally {
      this.#libc.close(inside)
    }
    return false
  }

  #create(from: number, to: number, place: Place): boolean {
    const { name, key, found, tree } = place
    switch (found.kind) {
      case KIND.directory:
        return this.#createDirectory(from, to, place)
      case KIND.file:
        if (!this.#createFile(from, to, place)) return false
        break
      case KIND.link: {
        const target = this.#libc.readLink(from, name)
        if (!target) return false
        this.#libc.makeLink(target, to, name)
        this.#copyMeta(from, name, to, name, found)
        break
      }
      default:
        // No sandbox can make a device; this one is how an overlay says that a name is gone.
        if (found.kind === KIND.device && (found.rdevMajor !== 0 || found.rdevMinor !== 0)) return false
        this.#libc.makeNode(to, name, found.kind | 0o600)
        this.#copyMeta(from, name, to, name, found)
    }
    tree.set(key, noteOf(found))
    return true
  }

  #createDirectory(from: number, to: number, { name, key, at, found, tree, depth }: Place): boolean {
    const inside = this.#openSame(from, name, found)
    if (inside === undefined) return false
    try {
      this.#libc.makeDirectory(to, name)
      const below = newDirectory()
      tree.set(key, { ...noteOf(found), below })
      const target = this.#openOurs(to, name)
      try {
        this.#syncDirectory(inside, target, below, at, depth + 1)
        this.#copyMeta(inside, ITSELF, target, ITSELF, found)
      } finally {
        this.#libc.close(target)
      }
    } finally {
      this.#libc.close(inside)
    }
    return true
  }

  #createFile(from: number, to: number, { name, at, found }: Place): boolean {
    const first = found.links > 1 ? this.#linked.get(found.inode) : undefined
    if (first !== undefined && this.#libc.addName(this.#to, nameOf(first), to, name)) return true
    const source = this.#libc.openFile(from, name)
    if (source === undefined) return false
    try {
      const opened = this.#libc.stat(source, ITSELF)
      if (opened?.kind !== KIND.file || opened.inode !== found.inode) return false
      const target = this.#libc.createFile(to, name)
      try {
        this.#libc.content.copy(source, target, opened)
      } finally {
        this.#libc.close(target)
      }
      this.#result.bytes += opened.size
      this.#copyMeta(from, name, to, name, found)
      if (found.links > 1) this.#linked.set(found.inode, at)
      return true
    } finally {
      this.#libc.close(source)
    }
  }

  /** Owner before mode, as changing the owner clears the set-id bits; times last. */
  #copyMeta(from: number, name: Name, to: number, toName: Name, found: Stat): void {
    const place = toName === ITSELF ? DOT : toName
    this.#libc.setOwner(to, place, found)
    if (found.kind !== KIND.link) this.#libc.setMode(to, place, found)
    for (const attribute of this.#libc.attributes(from, name))
      if (!OF_THE_UPPER.test(attribute[0].toString('latin1'))) this.#libc.setAttribute(to, toName, attribute)
    this.#libc.setTimes(to, place, found)
  }

  /** Opens a directory, if it is still the one that was found. */
  #openSame(from: number, name: Name, found: Stat): number | undefined {
    const fd = this.#libc.openDirectory(from, name)
    if (fd === undefined) return undefined
    if (this.#libc.stat(fd, ITSELF)?.inode === found.inode) return fd
    this.#libc.close(fd)
    return undefined
  }

  #openOurs(to: number, name: Name): number {
    const fd = this.#libc.openDirectory(to, name)
    if (fd === undefined) throw new Error('A directory of the copy is not there any more')
    return fd
  }

  #remove(to: number, key: string, tree: Tree): void {
    const entry = tree.get(key)
    if (!entry) return
    const name = nameOf(key)
    if (entry.below) {
      const inside = this.#openOurs(to, name)
      try {
        for (const child of [...entry.below.keys()]) this.#remove(inside, child, entry.below)
      } finally {
        this.#libc.close(inside)
      }
    }
    this.#libc.remove(to, name, entry.below !== undefined)
    tree.delete(key)
  }
}

type Place = { name: Name; key: string; at: string; found: Stat; tree: Tree; depth: number }
