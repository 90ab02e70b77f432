// Watching a directory, or a whole tree of them, by inotify. Each directory is watched before it is read, so nothing is made in it
// unseen. What happens at one path in a short time becomes one event about what stands there afterwards. What cannot be kept up
// with is given up and said so: an `overflow`, after which the tree is watched as it then is.

import { type FSWatcher, lstatSync, watch } from 'node:fs'
import { basename, dirname } from 'node:path'
import type { WatchEvent } from '../../lib/api/execd-files.ts'
import { ApiError, systemCodeOf } from '../../lib/errors.ts'
import { execdError } from '../http/answer.ts'
import { pause } from '../timer.ts'
import type { EventBursts } from './event-bursts.ts'
import { exactPath, typeOf } from './info.ts'
import { decodeName, nativePath } from './name.ts'
import type { Pace } from './turns.ts'
import { statEntry, walk } from './walk.ts'

/** More directories are too much for one stream: the system has one pool of watches for all. */
const MAX_WATCHED_DIRECTORIES = 10_000
const MAX_PENDING = 10_000
/** How long what happens at a path is gathered before it is told. */
const GATHER_MS = 10

/** A directory that is watched; `children` are those of its directories that are too. */
type Watched = { path: string; inode: number; watcher: FSWatcher; children: Map<string, Watched> }

export type TreeWatchOptions = {
  isRecursive: boolean
  pace: Pace
  bursts: EventBursts
  /** Told of each event, and waited for. */
  emit(event: WatchEvent): Promise<void>
}

export class TreeWatch {
  readonly #root: string
  /** The one name to watch in `#dir`, when what is watched is no directory. */
  readonly #only: string | undefined
  readonly #dir: string
  readonly #options: TreeWatchOptions
  #top: Watched | undefined
  #count = 0
  /** By path: whether something came or went there, or only changed. */
  #pending = new Map<string, 'entry' | 'content'>()
  #isOverflown = false
  #isClosed = false
  #wake = () => {}
  readonly #leaveBursts: () => void

  constructor(root: string, isDirectory: boolean, options: TreeWatchOptions) {
    this.#root = root
    this.#only = isDirectory ? undefined : basename(root)
    // A file is watched through its directory, because most programs replace a file to change it.
    this.#dir = isDirectory ? root : dirname(root)
    this.#options = options
    this.#leaveBursts = options.bursts.onLoss(() => this.#overflow())
  }

  /** Begins to watch. Throws a refusal when there is too much to watch. */
  async arm(): Promise<void> {
    this.#top = this.#watchDirectory(this.#dir)
    if (!this.#top)
      throw execdError('FILE_NOT_FOUND', `Cannot watch "${this.#dir}": it is not there, or not to be read`)
    if (this.#options.isRecursive && this.#only === undefined) await this.#armBelow(this.#top, false)
  }

  /** Tells what happens until the watch is closed, or what was watched is gone; returns why it ended. */
  async run(): Promise<string | undefined> {
    const { pace, emit } = this.#options
    while (!this.#isClosed) {
      if (this.#pending.size === 0 && !this.#isOverflown) {
        await new Promise<void>((resolve) => (this.#wake = resolve))
        await pause(GATHER_MS)
        continue
      }
      if (this.#isOverflown) {
        this.#isOverflown = false
        this.#pending.clear()
        await this.#armAnew()
        // Who reads the tree again because of this must not miss what happens from here on.
        await emit({ type: 'overflow' })
      }
      const pending = this.#pending
      this.#pending = new Map()
      for (const [path, kind] of pending) {
        if (pace.isDue) await pace.rest()
        if (this.#isOverflown || this.#isClosed) break
        if (path === this.#dir && this.#only === undefined && kind === 'entry') {
          await emit({ type: 'removed', path: path.toWellFormed(), ...exactPath(path) })
          return `"${path.toWellFormed()}" was removed`
        }
        await this.#tell(path, kind)
      }
    }
    return undefined
  }

  close(): void {
    this.#isClosed = true
    this.#leaveBursts()
    if (this.#top) this.#unwatch(this.#top)
    this.#wake()
  }

  async #tell(path: string, kind: 'entry' | 'content'): Promise<void> {
    const { emit, isRecursive } = this.#options
    const told = { path: path.toWellFormed(), ...exactPath(path) }
    const stat = statEntry(path)
    if (kind === 'content') return stat ? emit({ type: 'modified', ...told }) : undefined
    const parent = this.#find(dirname(path))
    const before = parent?.children.get(basename(path))
    if (before) {
      this.#unwatch(before)
      parent?.children.delete(basename(path))
    }
    if (!stat) return emit({ type: 'removed', ...told })
    // Watched before it is told of, so that who hears of it misses nothing in it.
    const made = stat.isDirectory() && isRecursive && parent ? this.#watchDirectory(path) : undefined
    if (made) parent?.children.set(basename(path), made)
    await emit({ type: 'created', ...told, file_type: typeOf(stat) })
    if (made) await this.#armBelow(made, true)
  }

  /** Watches all directories below; with `isNew`, everything there is told of as well. */
  async #armBelow(top: Watched, isNew: boolean): Promise<void> {
    const { pace, emit } = this.#options
    const nodes = new Map([[top.path, top]])
    const select = (_prefix: string, _name: string, kind: string) =>
      isNew || kind === 'directory' ? 'visit' : 'skip'
    try {
      await walk(top.path, { pace, select }, async ({ path, name, kind }) => {
        if (this.#isClosed) return false
        const parent = nodes.get(dirname(path))
        const known = parent?.children.get(name)
        const node = kind === 'directory' ? (known ?? this.#watchDirectory(path)) : undefined
        if (node) {
          parent?.children.set(name, node)
          nodes.set(path, node)
        }
        if (isNew && !this.#pending.has(path))
          await emit({ type: 'created', path: path.toWellFormed(), ...exactPath(path), file_type: kind })
        return true
      })
    } catch (error) {
      // It has gone again; that is told by the directory around it.
      if (error instanceof ApiError || systemCodeOf(error) === undefined || !isNew) throw error
    }
  }

  /** Watches what is there now: after a loss nobody knows which directories came and went. */
  async #armAnew(): Promise<void> {
    if (this.#top) this.#unwatch(this.#top)
    this.#top = this.#watchDirectory(this.#dir)
    if (!this.#top) this.#note(this.#dir, 'entry')
    else if (this.#options.isRecursive && this.#only === undefined) await this.#armBelow(this.#top, false)
  }

  #watchDirectory(path: string): Watched | undefined {
    if (this.#count >= MAX_WATCHED_DIRECTORIES)
      throw execdError(
        'TOO_MANY',
        `Cannot watch "${this.#root}" as it has more than ${MAX_WATCHED_DIRECTORIES} directories`,
      )
    try {
      const inode = lstatSync(nativePath(path)).ino
      const watcher = watch(nativePath(path), { encoding: 'buffer' }, (event, name) =>
        this.#notice(watched, event, name ? decodeName(name) : basename(path)),
      )
      const watched: Watched = { path, inode, watcher, children: new Map() }
      // It has become unwatchable; its end is told by the directory around it.
      watcher.on('error', () => this.#unwatch(watched))
      this.#count++
      return watched
    } catch (error) {
      const code = systemCodeOf(error)
      if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return undefined
      if (code === 'ENOSPC' || code === 'EMFILE')
        throw execdError('TOO_MANY', `Cannot watch "${path}": the system has no watch left`, error)
      throw error
    }
  }

  #unwatch(watched: Watched): void {
    for (const child of watched.children.values()) this.#unwatch(child)
    watched.children.clear()
    if (watched.watcher.listenerCount('change') === 0) return
    watched.watcher.removeAllListeners('change')
    watched.watcher.close()
    this.#count--
  }

  #notice(watched: Watched, event: string, name: string): void {
    this.#options.bursts.count()
    if (this.#only !== undefined && name !== this.#only) return
    const path = watched.path.endsWith('/') ? watched.path + name : `${watched.path}/${name}`
    // What happens to a directory itself comes under its own name, as if it were in itself.
    const isSelf = name === basename(watched.path) && !statEntry(path)
    const isGone = isSelf && statEntry(watched.path)?.ino !== watched.inode
    if (isGone && watched === this.#top) this.#note(watched.path, 'entry')
    else if (isGone) this.#unwatch(watched)
    else if (event === 'rename') this.#note(path, 'entry')
    else if (!isSelf) this.#note(path, 'content')
  }

  #note(path: string, kind: 'entry' | 'content'): void {
    if (this.#isOverflown) return
    if (kind === 'entry' || !this.#pending.has(path)) this.#pending.set(path, kind)
    if (this.#pending.size > MAX_PENDING) this.#overflow()
    this.#wake()
  }

  #overflow(): void {
    this.#isOverflown = true
    this.#pending.clear()
    this.#wake()
  }

  #find(path: string): Watched | undefined {
    if (path === this.#dir) return this.#top
    const start = this.#dir === '/' ? 1 : this.#dir.length + 1
    let node = this.#top
    for (const name of path.slice(start).split('/')) node = node?.children.get(name)
    return node
  }
}
