// What is wrong with the flags of `npm start`, told before anything is installed for them. Plain JavaScript that Node 20 can run; what
// stands behind a flag is judged with the rest of the configuration, once there is what can read it.

/** Those that take a value (a test holds this against what the programs take), and those that do not. */
export const VALUED_FLAGS = ['--config', '--host', '--port', '--data-dir', '--runtime']
export const PLAIN_FLAGS = ['--stop-sandboxes', '--no-install', '--help']

/** One sentence for each. */
export function problemsOfFlags(args) {
  const problems = []
  for (let at = 0; at < args.length; at++) {
    const arg = args[at]
    if (PLAIN_FLAGS.includes(arg)) continue
    const equals = arg.indexOf('=')
    const name = equals > 0 ? arg.slice(0, equals) : arg
    if (!VALUED_FLAGS.includes(name)) {
      problems.push(`Unknown argument "${name}": allowed are ${[...VALUED_FLAGS, ...PLAIN_FLAGS].join(', ')}`)
      continue
    }
    const value = equals > 0 ? arg.slice(equals + 1) : args[++at]
    if (value === undefined || value === '') problems.push(`Flag ${name} needs a value`)
    else if (name === '--port' && !(/^\d{1,5}$/.test(value) && value >= 1 && value <= 65535))
      problems.push(`Flag --port must be a number from 1 to 65535, but it is "${value}"`)
  }
  return problems
}
