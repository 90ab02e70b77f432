// Which runtime will run the sandboxes, told before there is a package that could read the configuration: what has to be installed
// depends on it. Plain JavaScript that Node 20 can run.

import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** The name of the runtime, as flags, environment and configuration say it, in this order. What is wrong in them is told later. */
export function runtimeOf({ args, env, readFile = readText }) {
  const flag = flagOf(args, '--runtime')
  if (flag !== undefined) return flag
  if (env.OPENSANDBOX_RUNTIME) return env.OPENSANDBOX_RUNTIME
  return textIn(configurationOf({ args, env, readFile }), 'runtime', 'type') ?? 'local'
}

/** Where a Docker daemon is that is there already, as environment and configuration say it; undefined when neither does. */
export function dockerHostOf({ args, env, readFile = readText }) {
  if (env.DOCKER_HOST) return env.DOCKER_HOST
  return textIn(configurationOf({ args, env, readFile }), 'docker', 'host') || undefined
}

function configurationOf({ args, env, readFile }) {
  const path = flagOf(args, '--config') ?? env.SANDBOX_CONFIG_PATH ?? '~/.sandbox.toml'
  return readFile(path.startsWith('~/') ? join(homedir(), path.slice(2)) : path)
}

function flagOf(args, name) {
  const at = args.findIndex((arg) => arg === name || arg.startsWith(`${name}=`))
  if (at < 0) return undefined
  return args[at] === name ? args[at + 1] : args[at].slice(name.length + 1)
}

/** A text in a TOML file, in the two ways that people write it. */
function textIn(source, table, key) {
  let section = ''
  for (const line of source.split('\n')) {
    const header = /^\s*\[\s*([\w.]+)\s*\]/.exec(line)
    if (header) section = header[1]
    const [, before, name, value] = /^\s*(?:(\w+)\s*\.\s*)?(\w+)\s*=\s*["']([^"']*)["']/.exec(line) ?? []
    if (name === key && (before === undefined ? section === table : section === '' && before === table))
      return value
  }
  return undefined
}

function readText(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // the programs tell
  }
}
