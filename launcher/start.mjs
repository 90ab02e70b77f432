// `npm start`: brings a machine that has only Node >= 20, npm and root to where the programs can run, then hands over to
// launcher/main.ts under the Node of the project's own dependencies. Plain JavaScript without packages, because when it
// starts there may be none.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { withCompileCache } from './compile-cache.mjs'
import { problemsOfFlags } from './flags.mjs'
import { ensureMachine, ROOT } from './install.mjs'
import { dockerHostOf, runtimeOf } from './runtime.mjs'

const HELP = `Usage: npm start -- [flags]

Starts control, gateway and egress on this machine and waits until a sandbox can be created.

  --config FILE      configuration (default ~/.sandbox.toml; also SANDBOX_CONFIG_PATH)
  --host ADDRESS     where to listen (default 127.0.0.1; anything else needs an API key)
  --port PORT        the one public port (default 8080)
  --data-dir DIR     where state, images and sandboxes are kept (default /var/lib/opensandbox)
  --runtime NAME     what runs sandboxes: local (the default) or docker (docs/runtimes.md)
  --stop-sandboxes   remove all sandboxes when stopping (by default they survive a restart)
  --no-install       install nothing; list what is missing and exit with 1
  --help             this text

The API key is OPENSANDBOX_SERVER_API_KEY or server.api_key; without one only this machine can connect.
SIGHUP has the configuration read again, unless this was started on a terminal; "npm run check-config" checks it before.`

const args = process.argv.slice(2)
if (args.includes('--help') || args.includes('-h')) {
  console.log(HELP)
  process.exit(0)
}

const problems = problemsOfFlags(args)
if (problems.length > 0) {
  for (const problem of problems) console.error(problem)
  process.exit(1)
}

const ready = await ensureMachine({
  install: !args.includes('--no-install'),
  purpose: 'start',
  runtime: runtimeOf({ args, env: process.env }),
  dockerHost: dockerHostOf({ args, env: process.env }),
})
if (!ready) process.exit(1)

const node = join(ROOT, 'node_modules/node/bin/node')
const rest = args.filter((arg) => arg !== '--no-install')
const child = spawn(node, [join(ROOT, 'launcher/main.ts'), ...rest], {
  stdio: 'inherit',
  env: withCompileCache(ROOT),
})
// A terminal sends its signals to the whole group; those that are sent to this process alone are passed on.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code) => process.exit(code ?? 1))
