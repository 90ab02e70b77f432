// The system call filter of an isolated session: a classic BPF program as `bwrap --seccomp` takes it (kernel:
// Documentation/userspace-api/seccomp_filter.rst, include/uapi/linux/filter.h). It refuses the calls of a list, and what the
// list alone would let slip: the other ways to the same thing, calls of another architecture's numbering, and calls that are
// newer than this file. Pure: names in, bytes out.

import { readSystemCalls } from './system-calls.ts'

/** What is refused unless the configuration has a list of its own (contract: execd.md 8.5). */
export const DENIED_CALLS = [
  'mount',
  'umount2',
  'chroot',
  'pivot_root',
  'ptrace',
  'process_vm_readv',
  'process_vm_writev',
  'kcmp',
  'init_module',
  'finit_module',
  'delete_module',
  'bpf',
  'seccomp',
  'personality',
  'add_key',
  'request_key',
  'keyctl',
  'iopl',
  'ioperm',
  'reboot',
  'syslog',
  'swapon',
  'swapoff',
  'setns',
  'unshare',
  'name_to_handle_at',
  'open_by_handle_at',
  'userfaultfd',
  'kexec_load',
  'kexec_file_load',
  'acct',
] // prettier-ignore

/** Who refuses a call means what it does; these do the same by other names. */
const SAME_AS: Record<string, string[]> = {
  mount: [
    'fsopen',
    'fsconfig',
    'fsmount',
    'fspick',
    'move_mount',
    'open_tree',
    'open_tree_attr',
    'mount_setattr',
  ],
  unshare: ['clone3'],
} // prettier-ignore
/** Refused as if they did not exist: programs then use the older call, which a filter can look into. */
const AS_MISSING = new Set(['clone3'])

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET (clone(2)). */
const CLONE_NAMESPACES = 0x7e020000
const EPERM = 1
const ENOSYS = 38

const ARCHES: Partial<Record<NodeJS.Architecture, { audit: number; key: 'x64' | 'arm64' }>> = {
  x64: { audit: 0xc000003e, key: 'x64' },
  arm64: { audit: 0xc00000b7, key: 'arm64' },
}
/** On x86-64, calls of the x32 ABI have this bit: the same calls by other numbers. */
const X32_BIT = 0x40000000

// Where the fields of `struct seccomp_data` lie.
const NUMBER = 0
const ARCH = 4
const FIRST_ARGUMENT_LOW = 16

// Instructions: BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_K with JEQ, JGT and JSET, BPF_RET|BPF_K.
const LOAD = 0x20
const JUMP_EQUAL = 0x15
const JUMP_ABOVE = 0x25
const JUMP_SET = 0x45
const RETURN = 0x06
const ALLOW = 0x7fff0000
const ERRNO = 0x00050000
/** The most that the kernel takes. */
const MAX_INSTRUCTIONS = 4096

type Instruction = [code: number, ifTrue: number, ifFalse: number, value: number]

/** Whether a filter can be made on this architecture. */
export function canFilter(arch: NodeJS.Architecture): boolean {
  return ARCHES[arch] !== undefined
}

/** The names of `names` that are no system call of any architecture that we know. */
export function unknownCalls(names: string[]): string[] {
  const calls = readSystemCalls()
  return names.filter((name) => !calls.has(name))
}

/** The filter that refuses the calls of `names`, as the bytes of an array of `struct sock_filter`. */
export function makeSeccompFilter(names: string[], arch: NodeJS.Architecture): Buffer {
  const known = ARCHES[arch]
  if (!known) throw new Error(`There is no system call filter for the architecture "${arch}"`)
  const calls = readSystemCalls()
  const newest = Math.max(...[...calls.values()].map((call) => call[known.key] ?? 0))
  const program: Instruction[] = [
    [LOAD, 0, 0, ARCH],
    [JUMP_EQUAL, 1, 0, known.audit],
    [RETURN, 0, 0, ERRNO | ENOSYS],
    [LOAD, 0, 0, NUMBER],
    ...(known.key === 'x64' ? refuseWhen(JUMP_SET, X32_BIT, ENOSYS) : []),
    ...refuseWhen(JUMP_ABOVE, newest, ENOSYS),
  ]
  const denied = new Set(names.flatMap((name) => [name, ...(SAME_AS[name] ?? [])]))
  for (const name of denied) {
    const number = calls.get(name)?.[known.key]
    // A call that this architecture lacks needs no refusal.
    if (number === undefined) continue
    program.push(...refuseWhen(JUMP_EQUAL, number, AS_MISSING.has(name) ? ENOSYS : EPERM))
  }
  const clone = calls.get('clone')?.[known.key]
  if (denied.has('unshare') && !denied.has('clone') && clone !== undefined)
    program.push(
      [JUMP_EQUAL, 0, 3, clone],
      [LOAD, 0, 0, FIRST_ARGUMENT_LOW],
      ...refuseWhen(JUMP_SET, CLONE_NAMESPACES, EPERM),
    )
  program.push([RETURN, 0, 0, ALLOW])
  if (program.length > MAX_INSTRUCTIONS)
    throw new Error(`The system call filter has ${program.length} instructions: at most ${MAX_INSTRUCTIONS}`)
  return encode(program)
}

/** Two instructions: when the accumulator matches, return the error, else go on behind them. */
function refuseWhen(jump: number, value: number, errno: number): Instruction[] {
  return [
    [jump, 0, 1, value],
    [RETURN, 0, 0, ERRNO | errno],
  ]
}

function encode(program: Instruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * 8)
  for (const [index, [code, ifTrue, ifFalse, value]] of program.entries()) {
    const at = index * 8
    bytes.writeUInt16LE(code, at)
    bytes.writeUInt8(ifTrue, at + 2)
    bytes.writeUInt8(ifFalse, at + 3)
    bytes.writeUInt32LE(value >>> 0, at + 4)
  }
  return bytes
}
