import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parseSeccompProfile } from '../../../control/runtime/docker/seccomp-profile.ts'
import { SECCOMP_PROFILE } from '../../../control/runtime/machine.ts'

const profile = (rule: unknown, defaultAction: unknown = 'SCMP_ACT_ERRNO') =>
  JSON.stringify({ defaultAction, syscalls: [rule] })

test('takes what Docker takes', () => {
  const text = readFileSync(SECCOMP_PROFILE, 'utf8')
  expect(parseSeccompProfile(text)).toBe(JSON.stringify(JSON.parse(text)))
  for (const rule of [
    { names: ['read', '_llseek'], action: 'SCMP_ACT_ALLOW', args: [] },
    { name: 'read', action: 'SCMP_ACT_TRAP' },
  ])
    expect(parseSeccompProfile(profile(rule))).toBe(profile(rule))
  expect(parseSeccompProfile('{"defaultAction": "SCMP_ACT_ALLOW"}')).toContain('ALLOW')
})

test.each([
  ['[]', 'it must be an object'],
  ['{', /JSON/],
  ['{}', '"defaultAction" must be one of SCMP_ACT_ALLOW, SCMP_ACT_ERRNO'],
  ['{"defaultAction": "allow"}', /"defaultAction" must be one of .*, but it is "allow"$/],
  ['{"defaultAction": "SCMP_ACT_LOG", "syscalls": {}}', '"syscalls" must be a list, but it is {}'],
  [profile('read'), '"syscalls[0]" must be an object, but it is "read"'],
  [
    profile({ names: ['read'], action: 'SCMP_ACT_ALOW' }),
    /"syscalls\[0\]\.action" must be one of .*"SCMP_ACT_ALOW"/,
  ],
  [
    profile({ action: 'SCMP_ACT_LOG' }),
    '"syscalls[0].names" must be a list of system calls, but it is missing',
  ],
  [
    profile({ names: ['read', 'Open At'], action: 'SCMP_ACT_LOG' }),
    '"syscalls[0].names[1]" must be a system call',
  ],
])('refuses %s', (text, message) => {
  expect(() => parseSeccompProfile(text)).toThrow(message)
})
