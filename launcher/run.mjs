// Runs one TypeScript program of this project with the Node of its own dependencies, whatever the machine has:
// `node launcher/run.mjs control/main.ts --help`. Plain JavaScript that Node 20 can run.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { withCompileCache } from './compile-cache.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const node = join(root, 'node_modules/node/bin/node')
if (!existsSync(node)) {
  console.error(
    'Cannot find the project\'s packages: run "npm ci" first, or "npm start", which does it for you.',
  )
  process.exit(1)
}
const [program, ...args] = process.argv.slice(2)
const child = spawn(node, [join(root, program), ...args], { stdio: 'inherit', env: withCompileCache(root) })
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 143)))
