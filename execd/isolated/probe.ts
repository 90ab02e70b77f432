// What of isolated sessions works here. Nothing is concluded from versions or permissions: a session is tried, with an overlay
// and without, and what fails says why in its own words.

import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { IsolatedCapabilities, UidMode } from '../../lib/api/execd-isolated.ts'
import { messageOf } from '../../lib/errors.ts'
import { findProgram } from '../command/program.ts'
import { hostProgram, runtimeRoot } from '../runtime-dir.ts'
import type { Surroundings } from '../surroundings.ts'
import { bwrapOptions } from './arguments.ts'
import { becomeUserCommand } from './become-user.ts'
import { type IsolationConfig, loadIsolationConfig } from './config.ts'
import { readHardening } from './hardening.ts'
import { layersOf } from './layers.ts'
import { canMount, openNamespace } from './namespace.ts'
import { canFilter, makeSeccompFilter } from './seccomp.ts'

const VERSION_TIMEOUT_MS = 5000
/** How long a failure stands before it is tried again: what is missing may have been installed. */
const RETRY_AFTER_MS = 3000

/** What sessions are made with. */
export type Isolator = {
  config: IsolationConfig
  /** The programs, the first one with its first arguments. */
  bwrap: string[]
  bash: string
  filter: Buffer
  canOverlay: boolean
  canUserns: boolean
  /** Whether a session in a user namespace can be kept from making further ones. */
  canDisableUserns: boolean
}

export type Probe = { isolator?: Isolator; version?: string; message?: string }

/** Probes at the first question, and again some time after a failure. */
export function createProbe(surroundings: Surroundings): () => Promise<Probe> {
  let current: Promise<Probe> | undefined
  let failedAt = 0
  return () => {
    if (current && failedAt > 0 && performance.now() - failedAt > RETRY_AFTER_MS) current = undefined
    current ??= probe(surroundings).then((found) => {
      failedAt = found.isolator ? 0 : performance.now()
      return found
    })
    return current
  }
}

/** The answer of `GET /v1/isolated/capabilities`. */
export function formatCapabilities({ isolator, version, message }: Probe): IsolatedCapabilities {
  return {
    available: isolator !== undefined,
    isolator: 'bwrap',
    ...(version === undefined ? {} : { version }),
    ...(message === undefined ? {} : { message }),
    setpriv_available: isolator !== undefined,
    userns_available: isolator?.canUserns ?? false,
    overlay_supported: isolator?.canOverlay ?? false,
    diff_supported: isolator?.canOverlay ?? false,
    commit_supported: isolator?.canOverlay ?? false,
    hardening: readHardening(),
  }
}

async function probe(surroundings: Surroundings): Promise<Probe> {
  let version: string | undefined
  try {
    const config = await loadIsolationConfig(surroundings.bootEnv.EXECD_ISOLATION_CONFIG)
    if (!canFilter(process.arch)) throw new Error(`There is no system call filter for "${process.arch}"`)
    const bwrap = findBwrap(surroundings.env.PATH)
    version = await readVersion(bwrap)
    const bash = findProgram('bash', surroundings.env.PATH, '/')
    if (!bash.ok) throw new Error('bash is missing in the image')
    mkdirSync(config.upperRoot, { recursive: true, mode: 0o700 })
    const isolator: Isolator = {
      config,
      bwrap,
      bash: bash.path,
      filter: makeSeccompFilter(config.deniedCalls, process.arch),
      canOverlay: true,
      canUserns: true,
      canDisableUserns: true,
    }
    const message = await tryAll(isolator, surroundings)
    return { isolator, version, ...(message === undefined ? {} : { message }) }
  } catch (error) {
    return { ...(version === undefined ? {} : { version }), message: messageOf(error) }
  }
}

/** Finds out what the isolator can; returns what is to be told of what it cannot. Throws when it can nothing. */
async function tryAll(isolator: Isolator, surroundings: Surroundings): Promise<string | undefined> {
  const attempt = (overlay: boolean, uidMode: UidMode, canDisableUserns = true) =>
    tryOnce({ ...isolator, canDisableUserns }, surroundings, { overlay, uidMode })
  const overlayProblem = await attempt(true, 'setpriv')
  if (overlayProblem !== undefined) {
    const problem = await attempt(false, 'setpriv')
    if (problem !== undefined) throw new Error(explain(problem))
    isolator.canOverlay = false
  }
  let usernsProblem = await attempt(false, 'userns')
  if (usernsProblem !== undefined) {
    isolator.canDisableUserns = false
    usernsProblem = await attempt(false, 'userns', false)
    isolator.canUserns = usernsProblem === undefined
  }
  const problems = [
    ...(overlayProblem === undefined ? [] : [`the mode "overlay" cannot be used: ${overlayProblem}`]),
    ...(usernsProblem === undefined ? [] : [`the uid_mode "userns" cannot be used: ${usernsProblem}`]),
  ]
  return problems.length > 0 ? problems.join('; ') : undefined
}

/** Runs an empty session; what went wrong, or undefined. */
async function tryOnce(
  isolator: Isolator,
  { user }: Surroundings,
  { overlay, uidMode }: { overlay: boolean; uidMode: UidMode },
): Promise<string | undefined> {
  const { config, bwrap, bash, filter, canDisableUserns } = isolator
  const dir = mkdtempSync(join(config.upperRoot, 'probe-'))
  try {
    const source = join(dir, 'source')
    const layers = layersOf(dir, 0)
    for (const path of [source, ...Object.values(layers)]) mkdirSync(path, { mode: 0o755 })
    const mount = { path: source, mode: overlay ? ('overlay' as const) : ('rw' as const), persist: true }
    const session = await openNamespace({
      bwrap,
      options: bwrapOptions({
        profile: 'strict',
        uidMode,
        user,
        shareNet: true,
        plan: { mounts: [mount], binds: [] },
        mergedOf: () => layers.merged,
        rootMounts: [],
        runtimeDir: runtimeRoot(),
        hidden: [],
        canDisableUserns,
        cwd: '/',
        env: {},
      }),
      filter,
      overlays: overlay ? [{ source, layers }] : [],
      command: [
        ...(uidMode === 'setpriv' ? becomeUserCommand(user) : []),
        bash,
        '--noprofile',
        '--norc',
        '-c',
        ':',
      ],
      dir,
      env: {},
      hasChannel: false,
    })
    const { exitCode } = await session.ended
    return exitCode === 0 ? undefined : session.complaint() || `it ended with ${exitCode}`
  } catch (error) {
    return messageOf(error)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** The machine's bubblewrap, which came with execd, or the image's own. */
function findBwrap(path: string | undefined): string[] {
  const ours = hostProgram('bwrap')
  if (existsSync(ours.at(-1) ?? '')) return ours
  const found = findProgram('bwrap', path, '/')
  if (found.ok) return [found.path]
  throw new Error('bubblewrap is missing: install the package "bubblewrap" on the machine or in the image')
}

function readVersion([program = '', ...args]: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      program,
      [...args, '--version'],
      { timeout: VERSION_TIMEOUT_MS, killSignal: 'SIGKILL', env: {}, cwd: '/' },
      (error, stdout) => {
        const version = /(\d+\.\d+[\d.]*)/.exec(stdout)?.[1]
        if (version) resolve(version)
        else reject(new Error(`bubblewrap does not run: ${error ? messageOf(error) : stdout.trim()}`))
      },
    )
  })
}

function explain(problem: string): string {
  // The calls that make namespaces are refused, by our own filter or by the machine's settings.
  const isRefused = !canMount() && /permission|not permitted/i.test(problem)
  return isRefused
    ? `namespaces cannot be made here (${problem}): create the sandbox with the extension "bootstrap.execd.isolation" = "enable"`
    : `a session cannot be started: ${problem}`
}
