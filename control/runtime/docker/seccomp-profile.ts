// An operator's own filter of system calls, read before the daemon gets it: that would say of a mistake only when a sandbox is made,
// and of a name that it does not know nothing at all.

import { isRecord } from '../../../lib/is-record.ts'

const ACTIONS = [
  ...['SCMP_ACT_ALLOW', 'SCMP_ACT_ERRNO', 'SCMP_ACT_KILL', 'SCMP_ACT_KILL_PROCESS', 'SCMP_ACT_KILL_THREAD'],
  ...['SCMP_ACT_LOG', 'SCMP_ACT_NOTIFY', 'SCMP_ACT_TRACE', 'SCMP_ACT_TRAP'],
]
const NAME = /^[a-z_][a-z0-9_]*$/

/** The profile as the daemon takes it. Throws with the field, what was found and what is allowed. */
export function parseSeccompProfile(text: string): string {
  const profile: unknown = JSON.parse(text)
  if (!isRecord(profile)) throw new Error('it must be an object')
  requireAction(profile.defaultAction, 'defaultAction')
  const { syscalls = [] } = profile
  if (!Array.isArray(syscalls)) throw new Error(`"syscalls" must be a list, but it is ${show(syscalls)}`)
  for (const [at, rule] of syscalls.entries()) {
    const field = `syscalls[${at}]`
    if (!isRecord(rule)) throw new Error(`"${field}" must be an object, but it is ${show(rule)}`)
    requireAction(rule.action, `${field}.action`)
    requireNames(rule, field)
  }
  return JSON.stringify(profile)
}

/** Docker took one `name` before there were `names`. */
function requireNames({ name, names }: Record<string, unknown>, field: string): void {
  const all = names ?? (name === undefined ? [] : [name])
  if (!Array.isArray(all) || all.length === 0)
    throw new Error(`"${field}.names" must be a list of system calls, but it is ${show(names)}`)
  for (const [at, each] of all.entries())
    if (typeof each !== 'string' || !NAME.test(each))
      throw new Error(
        `"${field}.names[${at}]" must be a system call such as "openat", but it is ${show(each)}`,
      )
}

function requireAction(action: unknown, field: string): void {
  if (typeof action !== 'string' || !ACTIONS.includes(action))
    throw new Error(`"${field}" must be one of ${ACTIONS.join(', ')}, but it is ${show(action)}`)
}

function show(value: unknown): string {
  return value === undefined ? 'missing' : JSON.stringify(value).slice(0, 100)
}
