export type GivenFlags = {
  /** Flags with a value, by name. */
  values: Map<string, string>
  /** Those without one, which the program itself understands. */
  own: Set<string>
}

/** Reads flags as typed: `['--port', '8081']` or `['--port=8081']`. */
export function readFlags(
  args: string[],
  { known, ownFlags }: { known: string[]; ownFlags: string[] },
  problems: string[],
): GivenFlags {
  const values = new Map<string, string>()
  const own = new Set<string>()
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? ''
    const equals = arg.indexOf('=')
    const name = equals > 0 ? arg.slice(0, equals) : arg
    if (ownFlags.includes(arg)) own.add(arg)
    else if (!known.includes(name)) {
      problems.push(`Unknown argument "${name}": allowed are ${[...known, ...ownFlags].join(', ')}`)
    } else {
      const value = equals > 0 ? arg.slice(equals + 1) : args[++at]
      if (value === undefined || value === '') problems.push(`Flag ${name} needs a value`)
      else values.set(name, value)
    }
  }
  return { values, own }
}

/** Takes one flag out of the arguments, for a program that knows it before the rest is read. */
export function takeFlag(args: string[], name: string): { rest: string[]; isGiven: boolean; value?: string } {
  const at = args.findIndex((arg) => arg === name || arg.startsWith(`${name}=`))
  const arg = args[at]
  if (arg === undefined) return { rest: args, isGiven: false }
  const isInline = arg !== name
  const value = isInline ? arg.slice(name.length + 1) : args[at + 1]
  const rest = [...args.slice(0, at), ...args.slice(at + (isInline ? 1 : 2))]
  return { rest, isGiven: true, ...(value !== undefined && { value }) }
}
