// The seccomp part of config.json, made from Debian's containers-common profile. That file is in Docker's format: rules may
// depend on the architecture and on the capabilities that the container has; OCI's format knows no such conditions.

export type DockerProfile = {
  defaultAction: string
  defaultErrnoRet?: number
  syscalls: DockerRule[]
}

type Condition = { caps?: string[]; arches?: string[]; minKernel?: string }
type DockerRule = {
  names: string[]
  action: string
  args?: { index: number; value: number; valueTwo?: number; op: string }[]
  errnoRet?: number
  includes?: Condition
  excludes?: Condition
}

export type OciSeccomp = {
  defaultAction: string
  defaultErrnoRet?: number
  architectures: string[]
  syscalls: { names: string[]; action: string; errnoRet?: number; args?: DockerRule['args'] }[]
}

const ARCHES: Partial<Record<NodeJS.Architecture, { seccomp: string; names: string[] }>> = {
  x64: { seccomp: 'SCMP_ARCH_X86_64', names: ['amd64'] },
  arm64: { seccomp: 'SCMP_ARCH_AARCH64', names: ['arm64'] },
}

// The profile of containers-common lets a container make user namespaces of its own, in which it would be root with every
// capability again and reach kernel code that only root reaches. These calls are what that takes; all else stands on the
// capabilities that a sandbox lacks anyhow.
const NAMESPACE_CALLS = ['mount', 'pivot_root', 'setns', 'umount2', 'unshare']
const OTHER_MOUNT_CALLS = [
  'fsconfig',
  'fsmount',
  'fsopen',
  'fspick',
  'mount_setattr',
  'move_mount',
  'open_tree',
  'umount',
] // prettier-ignore
// The kernel counts keys by user, and the users of all sandboxes are the same ones: a sandbox that makes 200 would leave none to the others.
const KEY_CALLS = ['add_key', 'keyctl', 'request_key']
/** Calls that the profile has its say on no more. */
const DECIDED_HERE = [...NAMESPACE_CALLS, ...OTHER_MOUNT_CALLS, ...KEY_CALLS, 'clone', 'clone3']
const EPERM = 1
const ENOSYS = 38
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET (clone(2)). */
const CLONE_NAMESPACES = 0x7e020000

const NAMESPACES_REFUSED: OciSeccomp['syscalls'] = [
  { names: [...NAMESPACE_CALLS, ...OTHER_MOUNT_CALLS], action: 'SCMP_ACT_ERRNO', errnoRet: EPERM },
  {
    names: ['clone'],
    action: 'SCMP_ACT_ALLOW',
    args: [{ index: 0, value: CLONE_NAMESPACES, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
  },
]
/** The name of the host is one of the namespace's own; the profile lets only CAP_SYS_ADMIN of a container ask. */
const HOST_NAME = 'sethostname'
const NAMESPACES_ALLOWED: OciSeccomp['syscalls'] = [
  { names: [...NAMESPACE_CALLS, 'clone', HOST_NAME], action: 'SCMP_ACT_ALLOW' },
  // Programs that know these calls use the older ones only where they hear that these do not exist.
  { names: OTHER_MOUNT_CALLS, action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
]

/**
 * Resolves a profile's conditions for this architecture and these capabilities (`CAP_…`). With `allowNamespaces`, the calls
 * that make namespaces and mounts in them are let through.
 */
export function toOciSeccomp(
  profile: DockerProfile,
  arch: NodeJS.Architecture,
  capabilities: readonly string[],
  { allowNamespaces = false } = {},
): OciSeccomp {
  const known = ARCHES[arch]
  if (!known)
    throw new Error(
      `There is no seccomp profile for the architecture "${arch}": allowed are ${Object.keys(ARCHES).join(', ')}`,
    )
  const decided = new Set(allowNamespaces ? [...DECIDED_HERE, HOST_NAME] : DECIDED_HERE)
  const held = new Set(capabilities)
  const arches = new Set(known.names)
  const applies = ({ includes = {}, excludes = {} }: DockerRule) =>
    (includes.caps ?? []).every((cap) => held.has(cap)) &&
    (!includes.arches || includes.arches.some((name) => arches.has(name))) &&
    !(excludes.caps ?? []).some((cap) => held.has(cap)) &&
    !(excludes.arches ?? []).some((name) => arches.has(name))
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet !== undefined && { defaultErrnoRet: profile.defaultErrnoRet }),
    // Not the 32-bit siblings: the filter is compiled at every create, and each of them adds a third of it. Their programs
    // are ended by the kernel (docs/decisions/native-system-calls.md).
    architectures: [known.seccomp],
    syscalls: [
      ...profile.syscalls.filter(applies).flatMap(({ names, action, args, errnoRet }) => {
        const kept = names.filter((name) => !decided.has(name))
        if (kept.length === 0) return []
        return [
          {
            names: kept,
            action,
            ...(errnoRet !== undefined && { errnoRet }),
            ...(args && args.length > 0 && { args }),
          },
        ]
      }),
      ...(allowNamespaces ? NAMESPACES_ALLOWED : NAMESPACES_REFUSED),
      { names: KEY_CALLS, action: 'SCMP_ACT_ERRNO', errnoRet: EPERM },
      // Its flags lie in memory, where a filter cannot look; programs fall back to clone.
      { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
    ],
  }
}
