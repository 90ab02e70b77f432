// The command by which a process of a session becomes the user that the session runs as.

import { hostProgram } from '../runtime-dir.ts'
import { SESSION_CAPABILITIES } from './arguments.ts'

export type BecomeUserOptions = {
  /** Whether even root keeps no more rights than it has in a session. */
  limited?: boolean
}

/** Words to be put before a command. */
export function becomeUserCommand(
  { uid, gid, groups = [] }: { uid: number; gid: number; groups?: number[] },
  { limited = false }: BecomeUserOptions = {},
): string[] {
  const kept = SESSION_CAPABILITIES.map((name) => `+${name.replace('CAP_', '').toLowerCase()}`)
  return [
    ...hostProgram('setpriv'),
    `--reuid=${uid}`,
    `--regid=${gid}`,
    groups.length > 0 ? `--groups=${groups.join(',')}` : '--clear-groups',
    // Of no use to anyone but root, whose programs get them anyhow.
    ...(uid === 0 ? [] : ['--inh-caps=-all']),
    ...(limited ? [`--bounding-set=-all,${kept.join(',')}`, '--no-new-privs'] : []),
    '--',
  ]
}
