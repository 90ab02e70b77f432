// What of the sandbox's files a session sees, and where it may write (contract: execd.md 8.2, 8.4). Here the paths of a
// request meet the file system: links are resolved once, so that a link changed later leads nowhere else.

import { closeSync, openSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { MountMode } from '../../lib/api/execd-isolated.ts'
import { ApiError, messageOf, systemCodeOf } from '../../lib/errors.ts'
import { mountPointsIn } from '../../lib/mountinfo.ts'
import { execdError } from '../http/answer.ts'
import { giveDirectories, makeDirectories } from '../make-directories.ts'
import type { IsolationConfig } from './config.ts'
import type { SessionMount, SessionRequest } from './request.ts'

export type PlannedMount = {
  /** Where it lies, in the sandbox and in the session alike. */
  path: string
  mode: MountMode
  persist: boolean
}

export type PlannedBind = { source: string; dest: string; readOnly: boolean }

export type MountPlan = {
  /** Directories of the request, the first one first. */
  mounts: PlannedMount[]
  binds: PlannedBind[]
}

export type PlanOptions = {
  config: IsolationConfig
  /** Directories that no session may have a mount in or over. */
  vital: string[]
  /** Who gets a directory that has to be made. */
  owner: { uid: number; gid: number }
  /** Places over which, or over what is above them, no overlay can be laid. */
  fixedMounts: string[]
}

const KERNEL_DIRS = ['/proc', '/sys', '/dev']
/** What every session, or every but the balanced one, has for itself. */
export const FRESH_DIRS = ['/tmp', '/run']

/** Resolves the paths of a request and makes the directories that are missing. Throws a refusal that names the path. */
export function planMounts(request: SessionRequest, options: PlanOptions): MountPlan {
  const { config } = options
  const mounts = request.mounts.map((mount) => planMount(mount, options))
  for (const [index, { path }] of mounts.entries())
    if (mounts.findIndex((other) => other.path === path) !== index)
      throw refuse(`Two mounts lead to the same directory "${path}"`)
  const writable = request.extraWritable.map((path) => {
    const source = allowedSource(path, 'extra_writable', config)
    return { source, dest: source, readOnly: false }
  })
  const isMade = (path: string) =>
    request.profile === 'minimal' ||
    [...FRESH_DIRS, ...mounts.map((mount) => mount.path)].some((dir) => isWithin(path, dir))
  const binds = request.binds.map(({ source: asked, dest: wanted, readOnly }) => {
    const source = allowedSource(asked, 'binds', config)
    const dest = realPath(wanted) ?? wanted
    refuseOverlap(dest, options)
    // The session's root is read-only: a mount point that bubblewrap cannot make has to be there before.
    if (!isMade(dest)) makeMountPoint(dest, statSync(source).isDirectory())
    return { source, dest, readOnly }
  })
  return { mounts, binds: [...writable, ...binds] }
}

function planMount({ path, mode, persist }: SessionMount, options: PlanOptions): PlannedMount {
  const real = realPath(path) ?? makeDirectory(path, options.owner)
  if (!statSync(real).isDirectory()) throw refuse(`"${path}" is not a directory`)
  refuseOverlap(real, options)
  const below = options.fixedMounts.find((mount) => mount !== real && isWithin(mount, real))
  if (mode === 'overlay' && below !== undefined)
    throw new ApiError(
      503,
      'NOT_SUPPORTED',
      `No overlay can lie over "${path}" here, because something else is mounted below it, at "${below}"`,
    )
  return { path: real, mode, persist }
}

/** The real path of `path`, which must lie where sessions may be given something to write to. */
function allowedSource(path: string, name: string, { allowedWritable, upperRoot }: IsolationConfig): string {
  const real = realPath(path)
  if (real === undefined) throw refuse(`"${name}": there is no file or directory "${path}"`)
  const isAllowed = allowedWritable.some((dir) => isWithin(real, realPath(dir) ?? dir))
  if (!isAllowed || isWithin(real, upperRoot) || isWithin(upperRoot, real)) {
    const shown = real === path ? `"${path}"` : `"${path}", which leads to "${real}",`
    throw refuse(
      `"${name}": ${shown} is not below a directory that sessions may be given: allowed are ${allowedWritable.join(', ') || 'none'}`,
    )
  }
  return real
}

function makeMountPoint(path: string, isDirectory: boolean): void {
  try {
    makeDirectories(isDirectory ? path : dirname(path), 0o755)
    if (!isDirectory) closeSync(openSync(path, 'a'))
  } catch (error) {
    throw refuse(`Cannot make the mount point "${path}": ${messageOf(error)}`)
  }
}

function refuseOverlap(path: string, { config, vital }: PlanOptions): void {
  for (const dir of [...KERNEL_DIRS, ...vital, config.upperRoot]) {
    const isOver = path !== '/' && isWithin(dir, path) && !KERNEL_DIRS.includes(dir)
    if (isWithin(path, dir) || isOver)
      throw refuse(`Cannot mount at "${path}": "${dir}" is not a session's to have`)
  }
}

function makeDirectory(path: string, owner: { uid: number; gid: number }): string {
  try {
    const first = makeDirectories(path, 0o755)
    if (first !== undefined) giveDirectories(first, path, owner)
    return realpathSync(path)
  } catch (error) {
    throw execdError(
      'INVALID_REQUEST_BODY',
      `Cannot make the directory "${path}": ${messageOf(error)}`,
      error,
    )
  }
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined
    throw execdError('INVALID_REQUEST_BODY', `Cannot use the path "${path}": ${messageOf(error)}`, error)
  }
}

/** Whether `path` is `dir` or lies below it. */
export function isWithin(path: string, dir: string): boolean {
  return path === dir || path.startsWith(dir === '/' ? '/' : `${dir}/`)
}

function refuse(message: string): Error {
  return execdError('INVALID_REQUEST_BODY', message)
}

/** What is mounted below the root of the sandbox itself, but for what every session gets anew. */
export function rootMounts(mountPoints = readMountPoints()): string[] {
  const fresh = [...KERNEL_DIRS, ...FRESH_DIRS]
  return mountPoints
    .filter((path) => path !== '/' && !fresh.some((dir) => isWithin(path, dir)))
    .toSorted((a, b) => a.length - b.length)
}

/** Every place at which something is mounted here. */
export function readMountPoints(mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): string[] {
  return mountPointsIn(mountinfo)
}
