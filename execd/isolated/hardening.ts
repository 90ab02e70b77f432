// What keeps the processes of the sandbox in, as far as execd can see from its own process (contract: v1.1.md 2.4). It is the
// runtime that hardens a sandbox here, so the layers are looked at and not remembered.

import { readFileSync } from 'node:fs'
import type { IsolatedCapabilities, LayerState } from '../../lib/api/execd-isolated.ts'

/** Capabilities that reach beyond the processes and files of a sandbox. */
const STRONG_CAPABILITIES: Record<string, bigint> = {
  CAP_NET_ADMIN: 12n,
  CAP_SYS_MODULE: 16n,
  CAP_SYS_RAWIO: 17n,
  CAP_SYS_PTRACE: 19n,
  CAP_SYS_ADMIN: 21n,
  CAP_BPF: 39n,
}

/** What keeps the sandbox's own processes in, as far as execd can see (contract: v1.1.md 2.4). */
export function readHardening(): IsolatedCapabilities['hardening'] {
  const status = readFileSync('/proc/self/status', 'latin1')
  const bounding = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`)
  const held = Object.entries(STRONG_CAPABILITIES).flatMap(([name, bit]) =>
    ((bounding >> bit) & 1n) === 1n ? [name] : [],
  )
  const isFirst = process.pid === 1
  const unused = (name: string): LayerState => ({
    state: 'disabled',
    message: `${name} is not used: namespaces and system call filters keep processes in`,
  })
  return {
    init_mode: isFirst ? 'pid1' : 'none',
    signal_shield: isFirst,
    cap_drop:
      held.length === 0
        ? { state: 'active' }
        : { state: 'disabled', message: `processes may hold ${held.join(', ')}` },
    seccomp: /^Seccomp:\s*2$/m.test(status)
      ? { state: 'active' }
      : { state: 'disabled', message: 'the processes of the sandbox have no system call filter' },
    landlock: unused('Landlock'),
    ebpf: unused('eBPF'),
  }
}
