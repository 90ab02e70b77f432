// What a client may ask of an isolated session (contract: execd.md 8.2, 8.3; v1.1.md 2.4), checked field by field. Pure:
// whether the paths are there is asked later (mounts.ts).

import {
  MOUNT_MODES,
  type MountMode,
  PROFILES,
  type Profile,
  type SessionParameters,
  UID_MODES,
  type UidMode,
} from '../../lib/api/execd-isolated.ts'
import { parseEnvs } from '../command/request.ts'
import { execdError } from '../http/answer.ts'
import {
  asObject,
  type Body,
  checkText,
  field,
  optionalBoolean,
  optionalInteger,
  optionalText,
  wrong,
} from '../http/body.ts'
import { MAX_TIMER_MS } from '../timer.ts'
import { MAX_USER_ID } from '../users.ts'

const MAX_MOUNTS = 16
const MAX_BINDS = 256
const MAX_KEYS = 4096
const MAX_SECONDS = Math.floor(MAX_TIMER_MS / 1000)

export type SessionMount = {
  path: string
  mode: MountMode
  /** Whether what is written to an overlay can be told from outside: its changes, and files written through the API. */
  persist: boolean
}

export type SessionBind = { source: string; dest: string; readOnly: boolean }

export type EnvPassthrough = { mode: 'allow' | 'deny'; keys: string[] }

export type SessionRequest = {
  /** At least one; the first is where the session begins. */
  mounts: SessionMount[]
  profile: Profile
  extraWritable: string[]
  binds: SessionBind[]
  shareNet: boolean
  envPassthrough?: EnvPassthrough
  uid?: number
  gid?: number
  uidMode: UidMode
  /** 0: never. */
  idleTimeoutSeconds: number
}

export type RunRequest = {
  code: string
  envs: Record<string, string>
  /** Absent: no limit. */
  timeoutMs?: number
  background: boolean
}

/** Reads the body of `POST /v1/isolated/session`. Throws a refusal that names the field. */
export function parseSessionRequest(body: Body): SessionRequest {
  const envPassthrough = parseEnvPassthrough(field(body, 'env_passthrough'))
  const uid = optionalInteger(body, 'uid', MAX_USER_ID)
  const gid = optionalInteger(body, 'gid', MAX_USER_ID)
  return {
    mounts: parseMounts(body),
    profile: optionalChoice(body, 'profile', PROFILES) ?? 'strict',
    extraWritable: parseTexts(field(body, 'extra_writable'), 'extra_writable', MAX_BINDS).map((path, index) =>
      checkPath(path, `extra_writable[${index}]`),
    ),
    binds: parseBinds(field(body, 'binds')),
    shareNet: optionalBoolean(body, 'share_net') ?? true,
    ...(envPassthrough ? { envPassthrough } : {}),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    uidMode: optionalChoice(body, 'uid_mode', UID_MODES) ?? 'setpriv',
    idleTimeoutSeconds: optionalInteger(body, 'idle_timeout_seconds', MAX_SECONDS) ?? 0,
  }
}

/** Reads the body of `POST /v1/isolated/session/{id}/run`. Throws a refusal that names the field. */
export function parseRunRequest(body: Body): RunRequest {
  const code = optionalText(body, 'code')
  if (!code?.trim()) throw execdError('INVALID_REQUEST_BODY', '"code" must not be empty')
  const seconds = optionalInteger(body, 'timeout_seconds', MAX_SECONDS)
  return {
    code,
    envs: parseEnvs(field(body, 'envs')),
    ...(seconds ? { timeoutMs: seconds * 1000 } : {}),
    background: optionalBoolean(body, 'background') ?? false,
  }
}

/** What a session was asked for, as it is given back. */
export function formatParameters(request: SessionRequest): SessionParameters {
  const { mounts, envPassthrough, uid, gid } = request
  const [first] = mounts
  return {
    profile: request.profile,
    ...(first && mounts.length === 1 ? { workspace: { path: first.path, mode: first.mode } } : {}),
    overlays: mounts.map(({ path, mode, persist }) => ({
      path,
      mode,
      ...(mode === 'overlay' ? { persist } : {}),
    })),
    extra_writable: request.extraWritable,
    binds: request.binds.map(({ source, dest, readOnly }) => ({ source, dest, readonly: readOnly })),
    share_net: request.shareNet,
    ...(envPassthrough ? { env_passthrough: envPassthrough } : {}),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    uid_mode: request.uidMode,
    idle_timeout_seconds: request.idleTimeoutSeconds,
  }
}

function parseMounts(body: Body): SessionMount[] {
  const workspace = field(body, 'workspace')
  const overlays = field(body, 'overlays')
  const mounts: SessionMount[] = []
  if (workspace !== undefined) {
    const object = asObject(workspace, 'workspace')
    const mount = parseMount(object, 'workspace')
    mounts.push({ ...mount, path: mount.path === '/' ? '/' : mount.path.replace(/\/+$/, '') })
  }
  if (overlays !== undefined) {
    if (!Array.isArray(overlays)) throw wrong('overlays', 'a list', overlays)
    mounts.push(
      ...overlays.map((item, index) =>
        parseMount(asObject(item, `overlays[${index}]`), `overlays[${index}]`),
      ),
    )
  }
  if (mounts.length === 0)
    throw execdError('INVALID_REQUEST_BODY', 'At least one of "workspace" and "overlays" is needed')
  if (mounts.length > MAX_MOUNTS)
    throw execdError('INVALID_REQUEST_BODY', `At most ${MAX_MOUNTS} mounts: found ${mounts.length}`)
  for (const [index, { path }] of mounts.entries()) {
    checkPath(path, mounts.length === 1 ? 'the path of the mount' : `the path of mount ${index + 1}`)
    if (mounts.findIndex((other) => other.path === path) !== index)
      throw execdError('INVALID_REQUEST_BODY', `Two mounts have the same path "${path}"`)
  }
  return mounts
}

function parseMount(body: Body, name: string): SessionMount {
  const path = optionalText(body, 'path')
  if (!path) throw execdError('INVALID_REQUEST_BODY', `"${name}.path" is needed`)
  const mode = optionalChoice(body, 'mode', MOUNT_MODES, `${name}.mode`) ?? 'overlay'
  const persist = optionalBoolean(body, 'persist')
  if (persist !== undefined && mode !== 'overlay')
    throw execdError('INVALID_REQUEST_BODY', `"${name}.persist" goes only with the mode "overlay"`)
  return { path, mode, persist: persist ?? true }
}

function parseBinds(value: unknown): SessionBind[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw wrong('binds', 'a list', value)
  if (value.length > MAX_BINDS)
    throw execdError('INVALID_REQUEST_BODY', `At most ${MAX_BINDS} binds: found ${value.length}`)
  return value.map((item, index) => {
    const name = `binds[${index}]`
    const body = asObject(item, name)
    const source = optionalText(body, 'source')
    if (!source) throw execdError('INVALID_REQUEST_BODY', `"${name}.source" is needed`)
    checkPath(source, `${name}.source`)
    return {
      source,
      dest: checkPath(optionalText(body, 'dest') || source, `${name}.dest`),
      readOnly: optionalBoolean(body, 'readonly') ?? false,
    }
  })
}

function parseEnvPassthrough(value: unknown): EnvPassthrough | undefined {
  if (value === undefined) return undefined
  const body = asObject(value, 'env_passthrough')
  return {
    mode: optionalChoice(body, 'mode', ['allow', 'deny'] as const, 'env_passthrough.mode') ?? 'deny',
    keys: parseTexts(field(body, 'keys'), 'env_passthrough.keys', MAX_KEYS),
  }
}

function parseTexts(value: unknown, name: string, max: number): string[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw wrong(name, 'a list of texts', value)
  if (value.length > max)
    throw execdError(
      'INVALID_REQUEST_BODY',
      `"${name}" has ${value.length} entries: at most ${max} are allowed`,
    )
  return value.map((item, index) => checkText(item, `${name}[${index}]`))
}

function optionalChoice<T extends string>(
  body: Body,
  key: string,
  allowed: readonly T[],
  name = key,
): T | undefined {
  const value = optionalText(body, key)
  // Clients that fill in every field send an empty text for what they leave open.
  if (value === undefined || value === '') return undefined
  const found = allowed.find((item) => item === value)
  if (found === undefined)
    throw execdError(
      'INVALID_REQUEST_BODY',
      `"${name}" must be one of ${allowed.map((item) => `"${item}"`).join(', ')}: found "${value.slice(0, 50)}"`,
    )
  return found
}

/** An absolute path that is written in its shortest form, so that it means the same to everyone. */
function checkPath(path: string, name: string): string {
  const parts = path.split('/')
  const isClean =
    path === '/' ||
    (parts[0] === '' && parts.slice(1).every((part) => part !== '' && part !== '.' && part !== '..'))
  if (!isClean)
    throw execdError(
      'INVALID_REQUEST_BODY',
      `"${name}" must be an absolute path without "." and ".." and without "/" at its end: found "${path.slice(0, 200)}"`,
    )
  return path
}
