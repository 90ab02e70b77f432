// Writes the marks of processes, which only their own user may read: usage read-environ.cjs VARIABLES PID…, with the names of
// variables separated by commas. One line of JSON per process that has any: its number and `NAME=value` of each.

const { readFileSync } = require('node:fs')

const [names = '', ...pids] = process.argv.slice(2)
const prefixes = names.split(',').map((name) => `${name}=`)
for (const pid of pids) {
  let environ = ''
  try {
    environ = readFileSync(`/proc/${pid}/environ`, 'latin1')
  } catch {
    continue // ended meanwhile, or of a user that we are not either
  }
  const found = environ.split('\0').filter((entry) => prefixes.some((prefix) => entry.startsWith(prefix)))
  if (found.length > 0) process.stdout.write(`${JSON.stringify([Number(pid), ...found])}\n`)
}
