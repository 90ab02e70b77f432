// The marks of execd's own in the environment of what it starts. A process may leave its session, its group and its parent, and
// keeps its mark all the same, so that whatever a command has started can be found, also by another life of execd.

import type { Surroundings } from '../surroundings.ts'

/** The id of the command that a process belongs to. */
export const COMMAND_VARIABLE = 'OPENSANDBOX_COMMAND_ID'
/** The life of execd and the family of routes that a process belongs to, if it cannot outlive that life. */
export const FAMILY_VARIABLE = 'OPENSANDBOX_EXECD_FAMILY'

const FAMILIES = ['session', 'pty', 'code', 'isolated', 'lifecycle'] as const
type FamilyName = (typeof FAMILIES)[number]

export type Marks = { command?: string; family?: string }

/** Which life of which execd this is. */
export type Life = {
  /** The same in all lives of one execd, and in no other execd. */
  id: string
  /** 1 for the first. */
  number: number
}

/**
 * The mark for processes that the next life of execd must end, as nobody can use them any more. `part` tells those of one thing of the
 * family from those of another.
 */
export function ownedEnvironment(
  { life }: Pick<Surroundings, 'life'>,
  family: FamilyName,
  part?: string,
): Record<typeof FAMILY_VARIABLE, string> {
  const whole = `${life.id}.${life.number}.${family}`
  return { [FAMILY_VARIABLE]: part === undefined ? whole : `${whole}.${part}` }
}

/** Whether a process belongs to a family of an earlier life. */
export function isOfEarlierLife({ family }: Marks, life: Life): boolean {
  const [id, number] = family?.split('.') ?? []
  return id === life.id && Number(number) < life.number
}

/** The marks in an environment as /proc has it: texts that end with NUL. The first of a name counts, as for the program. */
export function parseMarks(environ: string): Marks {
  const command = readVariable(environ, COMMAND_VARIABLE)
  const family = readVariable(environ, FAMILY_VARIABLE)
  return { ...(command === undefined ? {} : { command }), ...(family === undefined ? {} : { family }) }
}

function readVariable(environ: string, name: string): string | undefined {
  const start = `\0${environ}`.indexOf(`\0${name}=`)
  if (start < 0) return undefined
  const from = start + name.length + 1
  const end = environ.indexOf('\0', from)
  return environ.slice(from, end < 0 ? undefined : end)
}
