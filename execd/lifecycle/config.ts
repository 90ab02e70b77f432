// The hooks as they stand in the sandbox's environment (lib/api/lifecycle-hooks.ts), read by hand. All problems are told at once.

import {
  DEFAULT_HOOK_TIMEOUT_SECONDS,
  MAX_PERIODIC_HOOKS,
  MAX_PERIODIC_SECONDS,
  MAX_PRE_START_SECONDS,
} from '../../lib/api/lifecycle-hooks.ts'
import { messageOf } from '../../lib/errors.ts'
import { isRecord } from '../../lib/is-record.ts'
import { parseSchedule, type Schedule } from '../../lib/schedule.ts'

export type HookConfig = { name: string; command: string[]; timeoutMs: number }
export type PeriodicConfig = HookConfig & { schedule: Schedule }
export type HooksConfig = { preStart?: HookConfig; periodic: PeriodicConfig[] }

type Refuse = (field: string, allowed: string, found: unknown) => void

/** Reads the variable. Throws with every problem found. */
export function parseHooks(text: string): HooksConfig {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new Error('The lifecycle hooks are not valid JSON', { cause: error })
  }
  const problems: string[] = []
  const refuse: Refuse = (field, allowed, found) =>
    problems.push(`"${field}" ${allowed}: found ${JSON.stringify(found)?.slice(0, 100)}`)
  if (!isRecord(value)) throw new Error('The lifecycle hooks must be a JSON object')
  const preStart = value.preStart ?? undefined
  const periodic = value.periodic ?? []
  const hooks: HooksConfig = { periodic: [] }
  if (preStart !== undefined) {
    const hook = parseHook(preStart, 'preStart', MAX_PRE_START_SECONDS, refuse)
    if (hook) hooks.preStart = { ...hook, name: 'preStart' }
  }
  if (Array.isArray(periodic) && periodic.length <= MAX_PERIODIC_HOOKS)
    hooks.periodic = periodic.flatMap(
      (each, index) => parsePeriodic(each, `periodic[${index}]`, refuse) ?? [],
    )
  else refuse('periodic', `must be a list of at most ${MAX_PERIODIC_HOOKS} hooks`, periodic)
  const names = hooks.periodic.map(({ name }) => name)
  if (new Set(names).size < names.length) refuse('periodic', 'must have unique names', names)
  if (problems.length > 0) throw new Error(`The lifecycle hooks are wrong: ${problems.join('; ')}`)
  return hooks
}

function parsePeriodic(value: unknown, field: string, refuse: Refuse): PeriodicConfig | undefined {
  const hook = parseHook(value, field, MAX_PERIODIC_SECONDS, refuse)
  if (!hook || !isRecord(value)) return undefined
  const name = typeof value.name === 'string' ? value.name.trim() : ''
  if (name === '') refuse(`${field}.name`, 'must be a text that is not blank', value.name)
  try {
    return { ...hook, name, schedule: parseSchedule(String(value.schedule)) }
  } catch (error) {
    refuse(`${field}.schedule`, messageOf(error), value.schedule)
    return undefined
  }
}

function parseHook(
  value: unknown,
  field: string,
  maxSeconds: number,
  refuse: Refuse,
): Omit<HookConfig, 'name'> | undefined {
  if (!isRecord(value)) {
    refuse(field, 'must be an object', value)
    return undefined
  }
  const { command, timeoutSeconds = DEFAULT_HOOK_TIMEOUT_SECONDS } = value
  if (!isCommand(command))
    refuse(`${field}.command`, 'must be a list of texts that begins with a program', command)
  const isTimeout =
    typeof timeoutSeconds === 'number' &&
    Number.isInteger(timeoutSeconds) &&
    timeoutSeconds >= 1 &&
    timeoutSeconds <= maxSeconds
  if (!isTimeout)
    refuse(`${field}.timeoutSeconds`, `must be an integer from 1 to ${maxSeconds}`, timeoutSeconds)
  return isCommand(command) && isTimeout ? { command, timeoutMs: timeoutSeconds * 1000 } : undefined
}

function isCommand(value: unknown): value is string[] {
  return (
    Array.isArray(value) &&
    value.every((word) => typeof word === 'string' && !word.includes('\0')) &&
    typeof value[0] === 'string' &&
    value[0].trim() !== ''
  )
}
