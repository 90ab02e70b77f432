// The filter is run here by a small interpreter of classic BPF, so that the table says what the kernel would answer.

import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { DENIED_CALLS, makeSeccompFilter, unknownCalls } from '../../../execd/isolated/seccomp.ts'
import { readSystemCalls } from '../../../execd/isolated/system-calls.ts'

const AUDIT = { x64: 0xc000003e, arm64: 0xc00000b7, ia32: 0x40000003 }
const ALLOW = 'allow'

/** What the filter answers to a call: `allow`, or the number of the error. */
function answer(
  filter: Buffer,
  { arch, number, flags = 0 }: { arch: number; number: number; flags?: number },
) {
  const data = Buffer.alloc(64)
  data.writeUInt32LE(number, 0)
  data.writeUInt32LE(arch, 4)
  data.writeUInt32LE(flags, 16)
  let accumulator = 0
  for (let at = 0; at * 8 < filter.length; at++) {
    const code = filter.readUInt16LE(at * 8)
    const value = filter.readUInt32LE(at * 8 + 4)
    const jump = (condition: boolean) => {
      at += filter.readUInt8(at * 8 + (condition ? 2 : 3))
    }
    if (code === 0x20) accumulator = data.readUInt32LE(value)
    else if (code === 0x15) jump(accumulator === value)
    else if (code === 0x25) jump(accumulator > value)
    else if (code === 0x45) jump((accumulator & value) !== 0)
    else if (code === 0x06) return value === 0x7fff0000 ? ALLOW : value & 0xffff
    else throw new Error(`Instruction ${code} at ${at}`)
  }
  throw new Error('The program ran off its end')
}

const EPERM = 1
const ENOSYS = 38
const CLONE_NEWUSER = 0x10000000
const CLONE_THREAD_FLAGS = 0x003d0f00

describe.each(['x64', 'arm64'] as const)('makeSeccompFilter() for %s', (arch) => {
  const calls = readSystemCalls()
  const numberOf = (name: string) => calls.get(name)?.[arch] ?? -1
  const filter = makeSeccompFilter(DENIED_CALLS, arch)
  const ask = (name: string, flags = 0) =>
    answer(filter, { arch: AUDIT[arch], number: numberOf(name), flags })

  test.each(DENIED_CALLS)('refuses %s', (name) => {
    if (numberOf(name) >= 0) expect(ask(name)).toBe(EPERM)
    else expect(arch).toBe('arm64')
  })

  test.each(['fsopen', 'fsmount', 'move_mount', 'open_tree', 'mount_setattr'])(
    'refuses %s as it does mount',
    (name) => {
      expect(ask(name)).toBe(EPERM)
    },
  )

  test.each([
    'read',
    'write',
    'openat',
    'execve',
    'futex',
    'mmap',
    'exit_group',
    'wait4',
    'setuid',
    'clock_gettime',
  ])('lets %s pass', (name) => {
    expect(numberOf(name)).toBeGreaterThanOrEqual(0)
    expect(ask(name)).toBe(ALLOW)
  })

  test('lets threads and children be made, and no namespaces', () => {
    expect(ask('clone', CLONE_THREAD_FLAGS)).toBe(ALLOW)
    expect(ask('clone', 17)).toBe(ALLOW)
    expect(ask('clone', CLONE_NEWUSER | 17)).toBe(EPERM)
    expect(ask('clone3')).toBe(ENOSYS)
    const without = makeSeccompFilter(['mount'], arch)
    expect(answer(without, { arch: AUDIT[arch], number: numberOf('clone'), flags: CLONE_NEWUSER })).toBe(
      ALLOW,
    )
    expect(answer(without, { arch: AUDIT[arch], number: numberOf('clone3') })).toBe(ALLOW)
  })

  test('I2: what is newer than the list does not pass, nor what is numbered as on another architecture', () => {
    expect(answer(filter, { arch: AUDIT[arch], number: 470 })).toBe(ENOSYS)
    expect(answer(filter, { arch: AUDIT[arch], number: 999 })).toBe(ENOSYS)
    expect(answer(filter, { arch: AUDIT.ia32, number: 3 })).toBe(ENOSYS)
    const other = arch === 'x64' ? AUDIT.arm64 : AUDIT.x64
    expect(answer(filter, { arch: other, number: 0 })).toBe(ENOSYS)
    if (arch === 'x64') expect(answer(filter, { arch: AUDIT.x64, number: 0x40000000 })).toBe(ENOSYS)
  })

  test('refuses nothing but the unknown for an empty list', () => {
    const open = makeSeccompFilter([], arch)
    expect(answer(open, { arch: AUDIT[arch], number: numberOf('mount') })).toBe(ALLOW)
    expect(answer(open, { arch: AUDIT[arch], number: 999 })).toBe(ENOSYS)
  })

  test('fits the kernel even when every call is refused', () => {
    expect(makeSeccompFilter([...calls.keys()], arch).length / 8).toBeLessThan(4096)
  })
})

test('there is no filter for an architecture whose numbers are not known', () => {
  expect(() => makeSeccompFilter([], 'ppc64')).toThrow('ppc64')
})

test('unknownCalls() names what is no system call', () => {
  expect(unknownCalls(['mount', 'teleport', 'iopl'])).toEqual(['teleport'])
})

const HEADER = '/usr/include/x86_64-linux-gnu/asm/unistd_64.h'
test("the numbers are those of the machine's own header", (context) => {
  if (!existsSync(HEADER)) return context.skip(`there is no ${HEADER}`)
  const calls = readSystemCalls()
  for (const [, name = '', number] of readFileSync(HEADER, 'utf8').matchAll(/^#define __NR_(\w+) (\d+)$/gm))
    expect(calls.get(name)?.x64, name).toBe(Number(number))
})

test('no number stands for two calls', () => {
  for (const arch of ['x64', 'arm64'] as const) {
    const numbers = [...readSystemCalls().values()].flatMap((call) => call[arch] ?? [])
    expect(new Set(numbers).size).toBe(numbers.length)
  }
})
