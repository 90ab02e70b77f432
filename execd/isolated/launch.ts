// Starting the shell of a session: everything that decides what it sees and who it is comes together here.

import { join } from 'node:path'
import { ownedEnvironment } from '../command/marks.ts'
import type { PipeStock } from '../command/pipes.ts'
import type { UserIds } from '../command/process.ts'
import { runtimeRoot } from '../runtime-dir.ts'
import type { Surroundings } from '../surroundings.ts'
import { bwrapOptions } from './arguments.ts'
import { becomeUserCommand } from './become-user.ts'
import { sessionEnvironment } from './environment.ts'
import { layersOf } from './layers.ts'
import { type MountPlan, type PlannedMount, rootMounts } from './mounts.ts'
import { type Namespace, NamespaceError, openNamespace } from './namespace.ts'
import type { Isolator } from './probe.ts'
import type { SessionRequest } from './request.ts'
import { SessionShell, shellCommand } from './shell.ts'

/** Where a session finds the pipes of its output. */
const PIPE_DIR = '/run/execd-session'
const READY_TIMEOUT_MS = 15_000

export type SessionSpec = {
  request: SessionRequest
  plan: MountPlan
  user: UserIds
  isolator: Isolator
  surroundings: Surroundings
  /** Its directory below the upper root. */
  layersDir: string
  /** Another one of execd's own, for pipes and logs. */
  dir: string
  /** Lies in `pipes` of that. */
  pipes: PipeStock
}

export type RunningSession = { namespace: Namespace; shell: SessionShell }

/** Starts the shell of a session. Rejects with NamespaceError when that fails. */
export async function launchSession(spec: SessionSpec): Promise<RunningSession> {
  const { request, user, isolator, dir } = spec
  const namespace = await openNamespace({
    bwrap: isolator.bwrap,
    options: [...optionsOf(spec), '--ro-bind', join(dir, 'pipes'), PIPE_DIR],
    filter: isolator.filter,
    overlays: spec.plan.mounts.flatMap(({ path, mode }, index) =>
      mode === 'overlay' ? [{ source: path, layers: layersOf(spec.layersDir, index) }] : [],
    ),
    command: [
      ...(request.uidMode === 'setpriv' ? becomeUserCommand(user) : []),
      ...shellCommand(isolator.bash),
    ],
    dir,
    env: ownedEnvironment(spec.surroundings, 'isolated'),
    oomScores: spec.surroundings.starter.oomScores,
    hasChannel: true,
  })
  const { channel } = namespace
  if (!channel) throw new NamespaceError('The session has no channel')
  const shell = new SessionShell({
    channel,
    pipes: spec.pipes,
    pipeDir: PIPE_DIR,
    // In a user namespace of its own, everyone inside is who made it outside.
    owner: request.uidMode === 'userns' ? { uid: 0, gid: 0 } : user,
  })
  void namespace.ended.then(() => shell.close())
  const timer = setTimeout(() => namespace.kill(), READY_TIMEOUT_MS)
  try {
    await shell.ready
    return { namespace, shell }
  } catch (error) {
    await namespace.ended
    throw new NamespaceError(namespace.complaint() || 'its shell ended at once', { cause: error })
  } finally {
    clearTimeout(timer)
  }
}

function optionsOf({ request, plan, user, isolator, surroundings, layersDir }: SessionSpec): string[] {
  return bwrapOptions({
    profile: request.profile,
    uidMode: request.uidMode,
    user,
    shareNet: request.shareNet,
    plan,
    mergedOf: (mount: PlannedMount) => layersOf(layersDir, plan.mounts.indexOf(mount)).merged,
    rootMounts: plan.mounts.some(({ path }) => path === '/') ? rootMounts() : [],
    runtimeDir: runtimeRoot(),
    hidden: [isolator.config.upperRoot, surroundings.dir],
    canDisableUserns: isolator.canDisableUserns,
    cwd: plan.mounts[0]?.path ?? '/',
    env: sessionEnvironment(surroundings.environment(user), request.envPassthrough),
  })
}
