// `npm test` and `npm run ok`: installs what the tests need and hands over to test/run.ts.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { withCompileCache } from './compile-cache.mjs'
import { ensureMachine, ROOT } from './install.mjs'

const args = process.argv.slice(2)
const ready = await ensureMachine({
  install: !args.includes('--no-install'),
  purpose: args.includes('--quick') ? 'start' : 'test',
})
if (!ready) process.exit(1)
const node = join(ROOT, 'node_modules/node/bin/node')
const rest = args.filter((arg) => arg !== '--no-install')
const child = spawn(node, [join(ROOT, 'test/run.ts'), ...rest], {
  stdio: 'inherit',
  env: withCompileCache(ROOT),
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code) => process.exit(code ?? 1))
